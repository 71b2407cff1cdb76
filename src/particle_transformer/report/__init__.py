"""The report of a run: plots and one self-contained HTML page.

Importing this loads no plotting library; drawing needs the extra ``report``.
"""

from particle_transformer.report.content import CutflowRow, ReportContent
from particle_transformer.report.page import write_report

__all__ = ["CutflowRow", "ReportContent", "write_report"]
