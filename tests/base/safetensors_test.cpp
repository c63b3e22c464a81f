#include "praxino/base/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "praxino/base/error.h"
#include "praxino/base/random.h"
#include "support/error_text.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

using testing::error_text;
using ::testing::HasSubstr;

std::string with_length(uint64_t length, std::string_view rest) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes.append(rest);
}

std::string file_of(std::string_view header, size_t data_bytes) {
  return with_length(header.size(), std::string(header) + std::string(data_bytes, 'x'));
}

class Safetensors : public ::testing::Test {
 protected:
  std::filesystem::path path() const { return folder_ / "model.safetensors"; }
  SafetensorsFile open(std::string_view bytes) const {
    std::filesystem::remove(path());  // truncating one makes some file systems sync
    OutputFile(path()).write(bytes);  // without sync: hundreds of files
    return SafetensorsFile(path());
  }
  std::string refusal(std::string_view bytes) const {
    return error_text([&] { open(bytes); });
  }

 private:
  testing::TemporaryFolder folder_;
};

TEST_F(Safetensors, ReadsWhatItWrote) {
  const std::vector<float> weights = {1, 2, 3, 4, 5, 6};
  const std::vector<int64_t> steps = {7};
  const WrittenFile written = write_safetensors(
      path(),
      {{.name = "flags",
        .dtype = "BOOL",
        .shape = {3},
        .data = std::as_bytes(std::span(std::string_view("\1\0\1", 3)))},
       {.name = "w \"q\" ü",
        .dtype = "F32",
        .shape = {2, 3},
        .data = std::as_bytes(std::span(weights))},
       {.name = "none", .dtype = "F32", .shape = {0, 5}, .data = {}},
       {.name = "step", .dtype = "I64", .shape = {}, .data = std::as_bytes(std::span(steps))}},
      {{"format", "pt"}, {"line\n", "\"two\"\x01"}});
  EXPECT_EQ(written.size, std::filesystem::file_size(path()));
  EXPECT_EQ(written.hash, hash_file(path()));

  const SafetensorsFile file(path());
  ASSERT_EQ(file.tensors().size(), 4u);
  EXPECT_EQ(file.tensors()[0].name, "step");  // the largest alignment first
  EXPECT_EQ(file.metadata().at("line\n"), "\"two\"\x01");
  const RawTensor* w = file.find("w \"q\" ü");
  ASSERT_NE(w, nullptr);
  EXPECT_EQ(w->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(std::memcmp(w->data.data(), weights.data(), 24), 0);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(w->data.data()) % 8, 0u);
  EXPECT_TRUE(file.find("step")->shape.empty());
  EXPECT_TRUE(file.find("none")->data.empty());
  EXPECT_EQ(file.find("other"), nullptr);
}

TEST_F(Safetensors, BytesEqualTheReferenceWriter) {
  const std::string data(64, '\0');
  const auto tensor = [&](std::string name, std::string dtype, int64_t extent) {
    const auto bytes = static_cast<size_t>(dtype_size(dtype) * extent);
    return RawTensor{.name = std::move(name),
                     .dtype = std::move(dtype),
                     .shape = {extent},
                     .data = std::as_bytes(std::span(data)).first(bytes)};
  };
  write_safetensors(path(),
                    {tensor("b", "F32", 1), tensor("a", "F32", 2), tensor("c", "U8", 3),
                     tensor("d", "I64", 1), tensor("e", "F64", 1), tensor("f", "BF16", 1)},
                    {{"format", "pt"}});
  const std::string bytes = read_file(path());
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"d":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},)"
      R"("e":{"dtype":"F64","shape":[1],"data_offsets":[8,16]},)"
      R"("a":{"dtype":"F32","shape":[2],"data_offsets":[16,24]},)"
      R"("b":{"dtype":"F32","shape":[1],"data_offsets":[24,28]},)"
      R"("f":{"dtype":"BF16","shape":[1],"data_offsets":[28,30]},)"
      R"("c":{"dtype":"U8","shape":[3],"data_offsets":[30,33]}})";
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  EXPECT_EQ(length % 8, 0u);
  EXPECT_EQ(bytes.substr(8, header.size()), header);
  EXPECT_EQ(bytes.substr(8 + header.size(), length - header.size()),
            std::string(length - header.size(), ' '));
  EXPECT_EQ(bytes.size(), 8 + length + 33);
}

TEST_F(Safetensors, AcceptsLegalOddities) {
  EXPECT_TRUE(open(file_of("{}", 0)).tensors().empty());
  EXPECT_EQ(
      open(file_of("{ \"a\" : {\"data_offsets\":[0,1], \"shape\":[], \"dtype\":\"U8\"} }    ", 1))
          .tensors()
          .size(),
      1u);
  // Data order differs from header order; an empty tensor lies between two others.
  const SafetensorsFile file =
      open(file_of(R"({"b":{"dtype":"U8","shape":[2],"data_offsets":[3,5]},)"
                   R"("n":{"dtype":"F64","shape":[9,0],"data_offsets":[3,3]},)"
                   R"("a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})",
                   5));
  EXPECT_EQ(file.tensors()[0].name, "a");
  EXPECT_EQ(file.tensors()[1].name, "n");
  EXPECT_EQ(file.tensors()[2].name, "b");
  EXPECT_EQ(file.find("b")->data.size(), 2u);
}

/// A header around one tensor's fields.
std::string tensor_with(std::string_view fields) {
  return fmt::format(R"({{"a":{{{}}}}})", fields);
}
std::string tensor_of(std::string_view dtype, std::string_view shape, std::string_view offsets) {
  return tensor_with(
      fmt::format(R"("dtype":"{}","shape":{},"data_offsets":{})", dtype, shape, offsets));
}

struct Hostile {
  std::string what;
  std::string bytes;
  std::string refusal;
};

std::vector<Hostile> hostile_headers() {
  const std::string good = tensor_of("U8", "[1]", "[0,1]");
  const std::string entry = good.substr(1, good.size() - 2);
  const std::string fields = R"("dtype":"U8","shape":[1],"data_offsets":[0,1])";
  std::string many = "{\"__metadata__\":{\"0\":\"\"";
  for (int i = 1; i < 300'000; ++i) many += fmt::format(",\"{}\":\"\"", i);
  std::string deep = "{\"a\":";
  for (int i = 0; i < 200'000; ++i) deep += "[";
  return {
      {"empty file", "", "not even a header length"},
      {"seven bytes", std::string(7, '\0'), "not even a header length"},
      {"huge length", with_length(~uint64_t{0}, good), "more than 100000000 is refused"},
      {"length over the limit", with_length(100'000'001, good), "more than 100000000 is refused"},
      {"length beyond the file", with_length(good.size() + 1, good), "cut short"},
      {"no header", with_length(0, ""), "does not begin with '{'"},
      {"leading space", file_of(" " + good, 1), "does not begin with '{'"},
      {"byte order mark", file_of("\xef\xbb\xbf" + good, 1), "does not begin with '{'"},
      {"array", file_of("[]", 0), "does not begin with '{'"},
      {"text", file_of("{hello}", 0), "is not JSON at byte"},
      {"unfinished", file_of(good.substr(0, good.size() - 1), 1), "is not JSON at byte"},
      {"two documents", file_of(good + good, 1), "is not JSON at byte"},
      {"NUL padding", file_of(good + std::string(3, '\0'), 1), "holds a NUL byte"},
      {"not UTF-8", file_of("{\"\xff\":{" + fields + "}}", 1), "is not JSON at byte"},
      {"comment", file_of("{/**/}", 0), "is not JSON at byte"},
      {"too many entries", file_of(many + "}}", 0), "has more than 250000 entries"},
      {"deep arrays", file_of(deep, 0), "'a', which is not an object"},
      {"deep objects", file_of(R"({"a":{"shape":{"x":{}}}})", 0),
       "wrong type of value for 'shape'"},
      {"nested shape", file_of(tensor_of("U8", "[[1]]", "[0,1]"), 1),
       "wrong type of value for 'shape'"},
      {"entry is null", file_of(R"({"a":null})", 0), "'a', which is not an object"},
      {"same tensor twice", file_of("{" + entry + "," + entry + "}", 1), "has two tensors 'a'"},
      {"same key twice", file_of(tensor_with(fields + R"(,"dtype":"U8")"), 1),
       "has two keys 'dtype'"},
      {"same metadata twice", file_of(R"({"__metadata__":{"k":"1","k":"2"}})", 0),
       "two metadata keys 'k'"},
      {"two metadata", file_of(R"({"__metadata__":{},"__metadata__":{}})", 0),
       "two entries '__metadata__'"},
      {"metadata number", file_of(R"({"__metadata__":{"k":1}})", 0),
       "metadata 'k', which is not a string"},
      {"metadata list", file_of(R"({"__metadata__":[]})", 0),
       "'__metadata__', which is not an object"},
  };
}

std::vector<Hostile> hostile_tensors() {
  const std::string good = tensor_of("U8", "[1]", "[0,1]");
  const std::string fields = R"("dtype":"U8","shape":[1],"data_offsets":[0,1])";
  const auto two = [&](std::string_view first, std::string_view second) {
    return fmt::format(R"({{"a":{{"dtype":"U8","shape":[2],"data_offsets":{}}},)"
                       R"("b":{{"dtype":"U8","shape":[2],"data_offsets":{}}}}})",
                       first, second);
  };
  std::string wide_shape = "[1";
  for (int i = 0; i < 100; ++i) wide_shape += ",1";
  return {
      {"unknown key", file_of(tensor_with(fields + R"(,"x":1)"), 1), "unknown key 'x'"},
      {"missing key", file_of(R"({"a":{"dtype":"U8","shape":[1]}})", 1), "has no 'data_offsets'"},
      {"unknown dtype", file_of(tensor_of("F12", "[1]", "[0,1]"), 1), "dtype 'F12'"},
      {"number as dtype", file_of(R"({"a":{"dtype":1}})", 1), "wrong type of value for 'dtype'"},
      {"negative extent", file_of(tensor_of("U8", "[-1]", "[0,1]"), 1), "number in 'shape'"},
      {"fraction", file_of(tensor_of("U8", "[1.0]", "[0,1]"), 1), "number in 'shape'"},
      {"string extent", file_of(tensor_of("U8", "[\"1\"]", "[0,1]"), 1),
       "wrong type of value for 'shape'"},
      {"extent over 63 bits", file_of(tensor_of("U8", "[9223372036854775808]", "[0,1]"), 1),
       "number in 'shape'"},
      {"extent over 64 bits", file_of(tensor_of("U8", "[99999999999999999999]", "[0,1]"), 1),
       "number in 'shape'"},
      {"shape overflow", file_of(tensor_of("F32", "[4611686018427387904]", "[0,0]"), 0),
       "size overflows"},
      {"product overflow", file_of(tensor_of("U8", "[4294967296,4294967296]", "[0,0]"), 0),
       "size overflows"},
      {"too many dimensions", file_of(tensor_of("U8", wide_shape + "]", "[0,1]"), 1),
       "more than 64 dimensions"},
      {"negative offset", file_of(tensor_of("U8", "[1]", "[-1,0]"), 1), "number in 'data_offsets'"},
      {"one offset", file_of(tensor_of("U8", "[1]", "[1]"), 1), "exactly two data_offsets"},
      {"three offsets", file_of(tensor_of("U8", "[1]", "[0,1,2]"), 1), "exactly two data_offsets"},
      {"offsets backwards", file_of(tensor_of("U8", "[1]", "[1,0]"), 1), "data_offsets are 1 to 0"},
      {"shape against offsets", file_of(tensor_of("F32", "[1]", "[0,1]"), 1), "needs 4 bytes"},
      {"malformed scalar", file_of(tensor_of("F32", "[]", "[0,0]"), 0), "needs 4 bytes"},
      {"malformed empty", file_of(tensor_of("U8", "[0]", "[0,1]"), 1), "needs 0 bytes"},
      {"beyond the end", file_of(tensor_of("U8", "[9]", "[0,9]"), 1), "cut short"},
      {"overlap", file_of(two("[0,2]", "[1,3]"), 3), "they overlap"},
      {"identical spans", file_of(two("[0,2]", "[0,2]"), 2), "they overlap"},
      {"hole", file_of(two("[0,2]", "[3,5]"), 5), "a hole"},
      {"hole at the start", file_of(tensor_of("U8", "[1]", "[1,2]"), 2), "a hole"},
      {"trailing bytes", file_of(good, 2), "longer than its header says"},
      {"data without tensors", file_of("{}", 1), "longer than its header says"},
  };
}

TEST_F(Safetensors, RefusesHostileFilesEachWithItsOwnReason) {
  std::vector<Hostile> files = hostile_headers();
  for (Hostile& hostile : hostile_tensors()) files.push_back(std::move(hostile));
  for (const Hostile& hostile : files) {
    const std::string text = refusal(hostile.bytes);
    EXPECT_THAT(text, HasSubstr(hostile.refusal)) << hostile.what;
    EXPECT_THAT(text, HasSubstr("model.safetensors'")) << hostile.what;
    EXPECT_LT(text.size(), 400u) << hostile.what;
  }
}

TEST_F(Safetensors, RefusalsEscapeNames) {
  EXPECT_THAT(refusal(file_of("{\"\\u001b[2J\":1}", 0)), HasSubstr("'\\x1b[2J'"));
}

TEST_F(Safetensors, EveryTruncationAndEveryFlippedBitIsRefusedOrStaysInside) {
  const std::string good =
      file_of(R"({"__metadata__":{"k":"v"},"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
              R"("b":{"dtype":"U16","shape":[],"data_offsets":[2,4]}})",
              4);
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_NE(refusal(good.substr(0, size)), "(no error)") << size;
  }
  for (size_t bit = 0; bit < (good.size() - 4) * 8; ++bit) {
    std::string bytes = good;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    error_text(
        [&] {  // a changed name or value may be legal; what is accepted must lie inside the file
          size_t total = 0;
          const SafetensorsFile file = open(bytes);
          for (const RawTensor& tensor : file.tensors()) total += tensor.data.size();
          EXPECT_EQ(total, 4u) << bit;
        });
  }
}

TEST_F(Safetensors, TheWriterRefusesWhatTheReaderWould) {
  const std::string byte = "x";
  const RawTensor good{
      .name = "a", .dtype = "U8", .shape = {1}, .data = std::as_bytes(std::span(byte))};
  const auto refuse = [&](const std::function<void(RawTensor&)>& change) {
    RawTensor bad = good;
    change(bad);
    const std::string text = error_text([&] { write_safetensors(path(), {bad}); });
    EXPECT_FALSE(std::filesystem::exists(path()));
    return text;
  };
  EXPECT_THAT(refuse([](RawTensor& t) { t.shape = {2}; }), HasSubstr("has 1 bytes"));
  EXPECT_THAT(refuse([](RawTensor& t) { t.shape = {-1}; }), HasSubstr("has 1 bytes"));
  EXPECT_THAT(refuse([](RawTensor& t) { t.dtype = "F4"; }), HasSubstr("dtype 'F4'"));
  EXPECT_THAT(refuse([](RawTensor& t) { t.name = "__metadata__"; }), HasSubstr("reserved"));
  EXPECT_THAT(refuse([](RawTensor& t) { t.name = "\xff"; }), HasSubstr("not UTF-8"));
  EXPECT_THAT(error_text([&] {
                write_safetensors(path(), {good, good});
              }),
              HasSubstr("given twice"));
}

TEST(DtypeSize, KnowsTheFormatsTypes) {
  EXPECT_EQ(dtype_size("F32"), 4);
  EXPECT_EQ(dtype_size("BF16"), 2);
  EXPECT_EQ(dtype_size("F8_E4M3"), 1);
  EXPECT_EQ(dtype_size("C64"), 8);
  EXPECT_THROW(dtype_size("f32"), Error);
}

}  // namespace
}  // namespace praxino
