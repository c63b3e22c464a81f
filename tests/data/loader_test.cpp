#include "praxino/data/loader.h"

#include <gmock/gmock.h>

#include <set>

#include "data/hand_made.h"
#include "data/numbered_video.h"
#include "praxino/base/hash.h"
#include "support/error_text.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;
using testing::error_text;
using ::testing::HasSubstr;
using testing::kSide;
using testing::TemporaryFolder;
using testing::write_numbered_video;

constexpr int64_t kFrames = 4;  // of a clip
constexpr int64_t kFiles = 3;
constexpr int64_t kFileFrames = 30;

TEST(SampleOrder, VisitsEveryClipOnceInAnEpochAndDiffersBetweenEpochs) {
  constexpr int64_t size = 1000;
  std::vector<int64_t> first(size);
  std::vector<int64_t> second(size);
  for (int64_t i = 0; i < size; ++i) {
    first[static_cast<size_t>(i)] = clip_of_sample(1, 2, size, i);
    second[static_cast<size_t>(i)] = clip_of_sample(1, 2, size, size + i);
  }
  EXPECT_NE(first, second);
  EXPECT_EQ(std::set<int64_t>(first.begin(), first.end()).size(), static_cast<size_t>(size));
  EXPECT_EQ(std::set<int64_t>(second.begin(), second.end()).size(), static_cast<size_t>(size));
  EXPECT_EQ(*std::max_element(first.begin(), first.end()), size - 1);
}

TEST(SampleOrder, DependsOnSeedAndContent) {
  const auto order = [](uint64_t seed, uint64_t content) {
    std::vector<int64_t> clips;
    for (int64_t i = 0; i < 50; ++i) clips.push_back(clip_of_sample(seed, content, 10'000, i));
    return clips;
  };
  EXPECT_EQ(order(1, 2), order(1, 2));
  EXPECT_NE(order(1, 2), order(2, 2));
  EXPECT_NE(order(1, 2), order(1, 3));
}

TEST(SampleOrder, StaysTheSameForAThousandBatches) {
  Random random(1);
  Dataset dataset(
      "hand-made", testing::four_fields(),
      {testing::made_file("a", testing::steady_index(900, 35), testing::random_rows(900, random)),
       testing::made_file("b", testing::uneven_index(500, random))});
  const ClipSpace clips(dataset, {testing::whole(dataset, 0), testing::whole(dataset, 1)}, 8, 10);
  StreamHash hash;
  for (int64_t sample = 0; sample < 8000; ++sample) {
    const ClipPlan plan = clips.plan(clip_of_sample(7, 11, clips.size(), sample));
    hash.update(std::as_bytes(std::span(plan.numbers)));
    hash.update(std::as_bytes(std::span(plan.actions)));
    hash.update(std::as_bytes(std::span(plan.known)));
  }
  // A resumed run continues its order only while this does not change.
  EXPECT_EQ(hash.digest().hex(), "6b6f52d7bf179c83fdec3aef5faaef03");
}

// A folder of three labelled videos of 30 frames; frame i of file f shows the number 100 f + i.
class Loading : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::declare_turns(folder_.path());
    for (int64_t f = 0; f < kFiles; ++f) {
      write_numbered_video(video(f), kFileFrames, 100 * f);
      testing::write_turns(folder_ / fmt::format("{}.actions.csv", f), kFileFrames);
    }
    dataset_ = std::make_shared<const Dataset>(Dataset::open(folder_.path(), 1));
  }

  fs::path video(int64_t f) const { return folder_ / fmt::format("{}.mp4", f); }

  LoaderOptions options(int64_t workers = 2) const {
    LoaderOptions result;
    result.data.clip_frames = kFrames;
    result.data.size = {kSide, kSide};
    result.data.batch = 5;
    result.data.workers = workers;
    result.data.ahead = 2;
    result.seed = 3;
    return result;
  }

  ClipSpace clips(const Rational& fps = 10) const {
    std::vector<Span> spans;
    for (int64_t f = 0; f < kFiles; ++f) spans.push_back(testing::whole(*dataset_, f));
    return {*dataset_, spans, kFrames, fps};
  }

  std::unique_ptr<Loader> loader(const LoaderOptions& chosen, LoaderState start = {}) const {
    return std::make_unique<Loader>(dataset_, clips(), chosen, start);
  }

  TemporaryFolder folder_;
  std::shared_ptr<const Dataset> dataset_;
};

std::string hash_of(const Batch& batch) {
  StreamHash hash;
  for (const at::Tensor& tensor : {batch.frames, batch.actions, batch.known}) {
    hash.update({static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()});
  }
  hash.update(std::as_bytes(std::span(batch.samples)));
  return hash.digest().hex();
}

std::vector<std::string> hashes_of(Loader& loader, int batches) {
  std::vector<std::string> result;
  for (int n = 0; n < batches; ++n) result.push_back(hash_of(loader.next()));
  return result;
}

// What row `row` of a batch shows, frame for frame, and the actions into these frames.
void expect_row_shows(const Batch& batch, int64_t row, const ClipPlan& plan) {
  const uint8_t* pixels =
      batch.frames.const_data_ptr<uint8_t>() + row * kFrames * 3 * kSide * kSide;
  const float* actions = batch.actions.const_data_ptr<float>() + row * kFrames;
  const bool* known = batch.known.const_data_ptr<bool>() + row * kFrames;
  for (int64_t t = 0; t < kFrames; ++t) {
    const auto k = static_cast<size_t>(t);
    EXPECT_EQ(testing::number_shown(pixels + t * 3 * kSide * kSide),
              100 * plan.file + plan.numbers[k]);
    EXPECT_EQ(known[t], plan.known[k] != 0);
    EXPECT_EQ(actions[t], plan.actions[k]);
  }
}

TEST_F(Loading, SharesTheRowsOfTheSameBatches) {
  const auto whole = loader(options());
  std::vector<std::unique_ptr<Loader>> shares;
  for (int64_t number = 0; number < 5; ++number) {
    LoaderOptions part = options();
    part.share = {.number = number, .of = 5};
    shares.push_back(loader(part, {.next_sample = 0}));
  }
  for (int n = 0; n < 6; ++n) {
    const Batch all = whole->next();
    for (int64_t row = 0; row < 5; ++row) {
      Loader& share = *shares[static_cast<size_t>(row)];
      const Batch own = share.next();
      ASSERT_EQ(own.samples, (std::vector<int64_t>{all.samples[static_cast<size_t>(row)]}));
      EXPECT_TRUE(own.frames[0].equal(all.frames[row]));
      EXPECT_TRUE(own.actions[0].equal(all.actions[row]));
      EXPECT_EQ(share.state().next_sample, whole->state().next_sample);
    }
  }
}

TEST_F(Loading, TakesItsTurnsOfTheSameBatches) {
  const auto whole = loader(options());
  const std::vector<std::string> all = hashes_of(*whole, 12);
  for (int64_t turn = 0; turn < 3; ++turn) {
    LoaderOptions part = options();
    part.share = {.turn = turn, .turns = 3};
    const auto own = loader(part);
    const std::vector<std::string> some = hashes_of(*own, 4);
    for (size_t n = 0; n < 4; ++n) EXPECT_EQ(some[n], all[3 * n + static_cast<size_t>(turn)]);
    EXPECT_EQ(own->state().next_sample, whole->state().next_sample);
  }
}

TEST_F(Loading, RefusesABatchThatCannotBeShared) {
  LoaderOptions part = options();
  part.share = {.number = 0, .of = 2};
  EXPECT_THAT(error_text([&] { loader(part); }), HasSubstr("data.batch is 5, which 2 ranks"));
}

TEST_F(Loading, ShowsTheFramesThatEachSampleStandsFor) {
  const auto loading = loader(options());
  const ClipSpace space = clips();
  for (int n = 0; n < 20; ++n) {
    const Batch batch = loading->next();
    ASSERT_EQ(batch.frames.sizes(), (std::vector<int64_t>{5, kFrames, 3, kSide, kSide}));
    ASSERT_EQ(batch.actions.sizes(), (std::vector<int64_t>{5, kFrames, 1}));
    for (int64_t row = 0; row < 5; ++row) {
      const int64_t sample = 5 * n + row;
      ASSERT_EQ(batch.samples[static_cast<size_t>(row)], sample);
      const int64_t clip = clip_of_sample(3, dataset_->content_hash(), space.size(), sample);
      expect_row_shows(batch, row, space.plan(clip));
    }
  }
  EXPECT_EQ(loading->state().failed_clips, 0);
  EXPECT_GE(loading->stats().frames_delivered, 20 * 5 * kFrames);
}

TEST_F(Loading, SumsTheRowsBetweenShownFrames) {
  // Row k is k: at half the rate the frames are s, s+2, ... and the action into s+2 is s + (s+1).
  const Batch batch = loader(options())->next();
  const float* actions = batch.actions.const_data_ptr<float>();
  const uint8_t* pixels = batch.frames.const_data_ptr<uint8_t>();
  for (int64_t t = 1; t < kFrames; ++t) {
    const int64_t shown = testing::number_shown(pixels + t * 3 * kSide * kSide) % 100;
    EXPECT_EQ(actions[t], static_cast<float>((shown - 2) + (shown - 1)));
  }
}

TEST_F(Loading, GivesTheSameBatchesForAnyWorkersAndAnyResume) {
  const std::vector<std::string> all = hashes_of(*loader(options(1)), 12);
  for (const int64_t workers : {2, 3, 8}) EXPECT_EQ(hashes_of(*loader(options(workers)), 12), all);
  const auto first = loader(options());
  for (int before = 0; before < 12; before += 5) {
    const auto resumed = loader(options(), {.next_sample = 5 * before});
    EXPECT_EQ(hashes_of(*resumed, 12 - before),
              std::vector<std::string>(all.begin() + before, all.end()));
    EXPECT_EQ(resumed->state().next_sample, 60);
  }
}

TEST_F(Loading, TakesTheStateOfALoaderThatReadAhead) {
  const auto interrupted = loader(options());
  const std::vector<std::string> before = hashes_of(*interrupted, 3);
  const LoaderState state = interrupted->state();
  const std::vector<std::string> onward = hashes_of(*interrupted, 2);
  EXPECT_EQ(hashes_of(*loader(options(), state), 2), onward);
}

TEST_F(Loading, ReplacesClipsOfAFileThatWasTruncated) {
  LoaderOptions chosen = options();
  chosen.data.max_bad = 0.9;
  fs::resize_file(video(1), fs::file_size(video(1)) / 2);
  const auto one = loader(chosen);
  const ClipSpace space = clips();
  int64_t failed = 0;
  for (int n = 0; n < 6; ++n) {
    const Batch batch = one->next();
    for (int64_t row = 0; row < 5; ++row) {
      const int64_t sample = batch.samples[static_cast<size_t>(row)];
      ClipPlan plan = space.plan(clip_of_sample(3, dataset_->content_hash(), space.size(), sample));
      for (int64_t attempt = 1; plan.file == 1; ++attempt, ++failed) {
        plan = space.plan(replacement_clip(3, space.size(), sample, attempt));
      }
      expect_row_shows(batch, row, plan);
    }
  }
  EXPECT_GT(failed, 3);
  EXPECT_EQ(one->state().failed_clips, failed);
  chosen.data.workers = 5;
  const auto other = loader(chosen);
  const auto again = loader(chosen);
  EXPECT_EQ(hashes_of(*other, 6), hashes_of(*again, 6));
}

TEST_F(Loading, SurvivesAFileThatIsDeletedWhileTraining) {
  LoaderOptions chosen = options();
  chosen.data.max_bad = 0.9;
  const auto loading = loader(chosen);
  loading->next();
  fs::remove(video(0));
  for (int n = 0; n < 10; ++n) loading->next();  // readers that are open still read it
  const auto resumed = loader(chosen, loading->state());
  for (int n = 0; n < 10; ++n) resumed->next();
  EXPECT_GT(resumed->state().failed_clips, 0);
}

TEST_F(Loading, EndsTheRunWhenTooManyClipsFail) {
  fs::remove(video(0));
  fs::remove(video(2));
  const std::string text = error_text([&] {
    const auto loading = loader(options());
    for (int n = 0; n < 100; ++n) loading->next();
  });
  EXPECT_THAT(text, ::testing::ContainsRegex(
                        "[0-9]+ of [0-9]+ clips could not be decoded, more than data.max_bad"));
  EXPECT_THAT(text, HasSubstr("(5 %); the last: "));
  EXPECT_THAT(text, HasSubstr(".mp4"));
  const std::string again = error_text([&] {
    const auto loading = loader(options(7));
    for (int n = 0; n < 100; ++n) loading->next();
  });
  EXPECT_EQ(again, text) << "the same end for any number of workers";
}

TEST_F(Loading, EndsTheRunWhenNothingIsLeftEvenIfEverythingMayFail) {
  for (int64_t f = 0; f < kFiles; ++f) fs::remove(video(f));
  LoaderOptions chosen = options();
  chosen.data.max_bad = 1;
  const auto loading = loader(chosen);
  EXPECT_THAT(error_text([&] { loading->next(); }),
              HasSubstr("100 clips in a row could not be decoded"));
  EXPECT_THAT(error_text([&] { loading->next(); }), HasSubstr("100 clips in a row"));
}

TEST_F(Loading, StopsAtAnyMoment) {
  for (int n = 0; n < 5; ++n) {
    const auto loading = loader(options(4));
    if (n % 2) loading->next();
  }
}

TEST_F(Loading, SaysWhyThereIsNoClip) {
  const std::string text = error_text([&] {
    Loader(dataset_, ClipSpace(*dataset_, {testing::whole(*dataset_)}, 16, 1), options());
  });
  EXPECT_THAT(text,
              HasSubstr("no clip fits: a clip of 16 frames at 1 frames a second lasts 16.00 s"));
  EXPECT_THAT(text, HasSubstr("shorten data.clip_frames"));
}

TEST_F(Loading, KeepsDecodersOpenAndOpensThemAfreshAfterAFailure) {
  ClipDecoder decoder(dataset_, kSide, kSide, ResizeFilter::kArea);
  std::vector<uint8_t> pixels(static_cast<size_t>(3 * kSide * kSide));
  const auto show = [&](int64_t file, int64_t number) {
    decoder.decode({file, {number}, {}, {}}, pixels);
    return testing::number_shown(pixels.data());
  };
  EXPECT_EQ(show(0, 7), 7);
  EXPECT_EQ(show(2, 29), 229);
  EXPECT_EQ(show(0, 8), 8);
  fs::remove(video(1));
  EXPECT_THAT(error_text([&] { show(1, 3); }), HasSubstr("1.mp4"));
  EXPECT_EQ(show(0, 9), 9);
  EXPECT_EQ(decoder.stats().frames_delivered, 4);
}

// Clips of the recorded games that the project comes with.
TEST(Freedoom, LoadsClipsWithTheirActions) {
  const TemporaryFolder folder;
  const fs::path source = fs::path(PRAXINO_SOURCE_DIR) / "tests/data/freedoom";
  for (const char* name : {"dataset.yaml", "freedoom1_demo3.mp4", "freedoom1_demo3.actions.csv"}) {
    fs::copy_file(source / name, folder / name);
  }
  const auto dataset = std::make_shared<const Dataset>(Dataset::open(folder.path()));
  ASSERT_EQ(dataset->files().size(), 1U);
  EXPECT_EQ(dataset->files()[0].index->frame_count(), 1241);
  EXPECT_EQ(dataset->files()[0].actions.rows, 1241);
  DataConfig data;
  EXPECT_EQ(dataset->fps(data), Rational(35));
  data.fps = 17.5;
  data.workers = 2;
  const Rational fps = dataset->fps(data);
  const Split split = split_dataset(*dataset, data.split);
  Loader loader(dataset, ClipSpace(*dataset, split.train, data.clip_frames, fps), {.data = data});
  const Batch batch = loader.next();
  EXPECT_EQ(batch.frames.sizes(), (std::vector<int64_t>{8, 16, 3, 64, 64}));
  EXPECT_EQ(batch.actions.sizes(), (std::vector<int64_t>{8, 16, 6}));
  EXPECT_GE(batch.known.count_nonzero().item<int64_t>(), 8 * 15);
  EXPECT_GT(batch.frames.to(at::kFloat).std().item<float>(), 10) << "a picture, not one colour";
}

}  // namespace
}  // namespace praxino
