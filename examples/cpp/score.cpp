// Scores events with the ONNX file that `aot export RUN --to onnx` writes, by ONNX Runtime's C++ API.
//
//   score MODEL.onnx EVENTS.txt
//
// EVENTS.txt holds one input per block, as the file's metadata names them:
//
//   NAME EVENTS SLOTS          SLOTS is 1 for a number per event
//   value value value ...      EVENTS * SLOTS numbers, event after event
//
// It prints one line for each event: its score, the probability of signal.

#include <onnxruntime_cxx_api.h>

#include <cstdint>
#include <deque>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

struct Block {
  std::int64_t events = 0;
  std::int64_t slots = 0;
  std::vector<std::string> words;  // as text: an event number does not fit into a double
};

std::map<std::string, Block> read_blocks(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + ": cannot be read");
  std::map<std::string, Block> blocks;
  std::string name;
  Block block;
  while (file >> name >> block.events >> block.slots) {
    block.words.resize(static_cast<std::size_t>(block.events * block.slots));
    for (auto& word : block.words)
      if (!(file >> word)) throw std::runtime_error(path + ": " + name + " ends too early");
    blocks[name] = block;
  }
  return blocks;
}

// The numbers of all inputs; a tensor only points to its own.
struct Memory {
  std::deque<std::vector<float>> floats;
  std::deque<std::vector<double>> doubles;
  std::deque<std::vector<std::int64_t>> integers;
  std::deque<std::vector<std::uint8_t>> booleans;
};

Ort::Value tensor(const Block& block, const Ort::TypeInfo& type, Memory& memory) {
  const auto info = type.GetTensorTypeAndShapeInfo();
  std::vector<std::int64_t> shape{block.events};
  if (info.GetDimensionsCount() == 2) shape.push_back(block.slots);
  const auto where = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  switch (info.GetElementType()) {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT: {
      auto& values = memory.floats.emplace_back();
      for (const auto& word : block.words) values.push_back(std::stof(word));
      return Ort::Value::CreateTensor<float>(where, values.data(), values.size(), shape.data(), shape.size());
    }
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE: {
      auto& values = memory.doubles.emplace_back();
      for (const auto& word : block.words) values.push_back(std::stod(word));
      return Ort::Value::CreateTensor<double>(where, values.data(), values.size(), shape.data(), shape.size());
    }
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64: {
      auto& values = memory.integers.emplace_back();
      for (const auto& word : block.words) values.push_back(std::stoll(word));
      return Ort::Value::CreateTensor<std::int64_t>(where, values.data(), values.size(), shape.data(), shape.size());
    }
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL: {
      auto& values = memory.booleans.emplace_back();
      for (const auto& word : block.words) values.push_back(word != "0");
      return Ort::Value::CreateTensor<bool>(where, reinterpret_cast<bool*>(values.data()), values.size(),
                                            shape.data(), shape.size());
    }
    default:
      throw std::runtime_error("an input of a type that aot export does not write");
  }
}

void score(const std::string& model, const std::string& events) {
  const auto blocks = read_blocks(events);
  Ort::Env env(ORT_LOGGING_LEVEL_WARNING, "score");
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(1);
  Ort::Session session(env, model.c_str(), options);
  Ort::AllocatorWithDefaultOptions allocator;

  Memory memory;
  std::vector<std::string> names;
  std::vector<Ort::Value> inputs;
  for (std::size_t i = 0; i < session.GetInputCount(); ++i) {
    names.emplace_back(session.GetInputNameAllocated(i, allocator).get());
    const auto found = blocks.find(names.back());
    if (found == blocks.end()) throw std::runtime_error(events + ": has no input " + names.back());
    inputs.push_back(tensor(found->second, session.GetInputTypeInfo(i), memory));
  }
  std::vector<const char*> pointers;
  for (const auto& name : names) pointers.push_back(name.c_str());

  const char* wanted = "score";
  const auto outputs =
      session.Run(Ort::RunOptions{nullptr}, pointers.data(), inputs.data(), inputs.size(), &wanted, 1);
  const float* scores = outputs[0].GetTensorData<float>();
  const auto count = outputs[0].GetTensorTypeAndShapeInfo().GetElementCount();
  std::cout << std::setprecision(9);
  for (std::size_t event = 0; event < count; ++event) std::cout << scores[event] << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: score MODEL.onnx EVENTS.txt\n";
    return 2;
  }
  try {
    score(argv[1], argv[2]);
  } catch (const std::exception& error) {
    std::cerr << "score: " << error.what() << '\n';
    return 1;
  }
}
