"""A trained run as a folder for the Hugging Face Hub, with its model card."""
