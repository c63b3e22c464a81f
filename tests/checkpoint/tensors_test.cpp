#include "praxino/checkpoint/tensors.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/view_as_complex.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "praxino/base/file.h"
#include "support/error_text.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"

namespace praxino {
namespace {

using ::testing::ElementsAre;
using testing::error_text;
using ::testing::HasSubstr;
using testing::normal;
using testing::TemporaryFolder;

NamedTensors round_trip(const NamedTensors& tensors) {
  const TemporaryFolder folder;
  save_tensors(folder / "x.safetensors", tensors);
  return load_tensors(folder / "x.safetensors");
}

bool same_bytes(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() &&
         std::memcmp(a.contiguous().const_data_ptr(), b.contiguous().const_data_ptr(),
                     a.nbytes()) == 0;
}

TEST(Tensors, SurviveInEveryTypeTheFormatShares) {
  for (const at::ScalarType type :
       {at::kBool, at::kByte, at::kChar, at::kShort, at::kUInt16, at::kHalf, at::kBFloat16,
        at::kInt, at::kUInt32, at::kFloat, at::kDouble, at::kLong, at::kUInt64, at::kComplexFloat,
        at::kFloat8_e4m3fn, at::kFloat8_e5m2, at::kFloat8_e8m0fnu}) {
    const int64_t size = static_cast<int64_t>(c10::elementSize(type));
    const at::Tensor bytes = at::randint(0, 2, {3, 4 * size}, at::kByte);  // a bool may be 0 or 1
    const at::Tensor want = bytes.view(type);
    const NamedTensors got = round_trip({{"t", want}});
    ASSERT_EQ(got.size(), 1) << type;
    EXPECT_TRUE(same_bytes(got[0].second, want)) << type;
  }
}

TEST(Tensors, SurviveWithoutDimensionsOrElements) {
  const at::Tensor scalar = at::full({}, 2.5, at::kFloat);
  const NamedTensors got = round_trip({{"scalar", scalar}, {"none", at::zeros({3, 0, 2})}});
  ASSERT_EQ(got.size(), 2);
  for (const auto& [name, tensor] : got) {
    EXPECT_EQ(tensor.sizes().vec(),
              name == "none" ? std::vector<int64_t>({3, 0, 2}) : std::vector<int64_t>());
    if (name == "scalar") {
      EXPECT_EQ(tensor.item<float>(), 2.5F);
    }
  }
}

TEST(Tensors, AreWrittenRowByRowWhateverTheirStrides) {
  const at::Tensor want = normal({5, 7, 3}).permute({2, 0, 1}).slice(1, 0, 5, 2);
  const NamedTensors got = round_trip({{"t", want}, {"wide", normal({4, 1}).expand({4, 6})}});
  EXPECT_TRUE(got[0].second.equal(want));
  EXPECT_TRUE(got[0].second.is_contiguous());
  EXPECT_EQ(got[1].second.sizes(), at::IntArrayRef({4, 6}));
}

TEST(Tensors, AreWrittenWithPendingConjugationsDone) {
  const at::Tensor z = at::view_as_complex(normal({4, 2})).conj();
  EXPECT_TRUE(round_trip({{"z", z}})[0].second.equal(z.resolve_conj()));
}

TEST(Tensors, OwnTheirMemoryAfterLoading) {
  const TemporaryFolder folder;
  save_tensors(folder / "x", {{"t", normal({100})}});
  const NamedTensors got = load_tensors(folder / "x");
  std::filesystem::remove(folder / "x");
  EXPECT_TRUE(got[0].second.equal(normal({100})));
  got[0].second.zero_();
}

TEST(Tensors, GiveEqualBytesForEqualTensorsInAnyOrder) {
  const TemporaryFolder folder;
  const at::Tensor half = normal({3}).to(at::kHalf);
  const WrittenFile one = save_tensors(folder / "1", {{"b", normal({4, 2})}, {"a", half}});
  const at::Tensor strided = normal({4, 2}).t().contiguous().t();
  const WrittenFile two = save_tensors(folder / "2", {{"a", half.clone()}, {"b", strided}});
  EXPECT_EQ(read_file(folder / "1"), read_file(folder / "2"));
  EXPECT_EQ(one.hash, two.hash);
  EXPECT_EQ(one.hash, hash_file(folder / "1"));
  EXPECT_EQ(one.size, std::filesystem::file_size(folder / "1"));
}

TEST(Tensors, HaveTheLayoutThatPythonReads) {
  const TemporaryFolder folder;
  save_tensors(folder / "x", {{"b", at::arange(2, at::kShort)}, {"a", at::arange(3, at::kFloat)}});
  const std::string text = read_file(folder / "x");
  std::string header = R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},)"
                       R"("b":{"dtype":"I16","shape":[2],"data_offsets":[12,16]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  ASSERT_GT(text.size(), 8);
  EXPECT_EQ(text.substr(0, 8),
            std::string(1, static_cast<char>(header.size())) + std::string(7, '\0'));
  EXPECT_EQ(text.substr(8, header.size()), header);
  const std::string data("\0\0\0\0\0\0\x80\x3f\0\0\0\x40\0\0\x01\0", 16);
  EXPECT_EQ(text.substr(8 + header.size()), data);
}

TEST(Tensors, AreReadByPython) {
  if (std::system("python3 -c 'import safetensors.numpy' 2>/dev/null") != 0) {
    GTEST_SKIP() << "python3 cannot import safetensors.numpy";
  }
  const TemporaryFolder folder;
  save_tensors(folder / "x", {{"a", at::arange(6, at::kFloat).view({2, 3})}});
  const std::string command = "python3 -c \"import safetensors.numpy as s; t = s.load_file('" +
                              (folder / "x").string() +
                              "'); assert t['a'].tolist() == [[0, 1, 2], [3, 4, 5]], t\"";
  EXPECT_EQ(std::system(command.c_str()), 0);
}

TEST(Tensors, NameTheTensorThatCannotBeWritten) {
  const TemporaryFolder folder;
  const auto save = [&](const at::Tensor& tensor) {
    return error_text([&] { save_tensors(folder / "x", {{"odd.one", tensor}}); });
  };
  EXPECT_THAT(save(at::zeros({2}, at::kComplexDouble)), HasSubstr("'odd.one'"));
  EXPECT_THAT(save(at::zeros({2, 2}).to_sparse()), HasSubstr("'odd.one'"));
  EXPECT_THAT(save(at::Tensor()), HasSubstr("'odd.one'"));
}

TEST(CopyTensors, LoadsByNameAndNamesTheRest) {
  const at::Tensor a = at::zeros({2, 3});
  const at::Tensor b = at::zeros({2, 3});
  const at::Tensor c = at::zeros({2, 3});
  const NamedTensors source = {
      {"b", normal({3, 2})}, {"a", normal({2, 3})}, {"unused", normal({1})}};
  EXPECT_THAT(copy_tensors(source, {{"a", a}, {"b", b}, {"c", c}}), ElementsAre("b", "c"));
  EXPECT_TRUE(a.equal(normal({2, 3})));
  EXPECT_TRUE(b.equal(at::zeros({2, 3})));
}

TEST(CopyTensors, FillsParametersInPlace) {
  at::Tensor weight = at::zeros({3}).requires_grad_();
  EXPECT_THAT(copy_tensors({{"w", normal({3})}}, {{"w", weight}}), ElementsAre());
  EXPECT_TRUE(weight.equal(normal({3})));
  EXPECT_TRUE(weight.is_leaf() && weight.requires_grad());
}

}  // namespace
}  // namespace praxino
