#include "praxino/video/canvas.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "praxino/base/error.h"

namespace praxino {
namespace {

// The canvas as text: '#' where it has the colour, '.' elsewhere.
std::string drawn(const Canvas& canvas, Color color = {}) {
  std::string text;
  for (int64_t y = 0; y < canvas.height(); ++y) {
    for (int64_t x = 0; x < canvas.width(); ++x) {
      const uint8_t* p = canvas.frames().pixels.data() + (y * canvas.width() + x) * 3;
      text += p[0] == color.r && p[1] == color.g && p[2] == color.b ? '#' : '.';
    }
    text += '\n';
  }
  return text;
}

TEST(Canvas, WritesLetters) {
  Canvas canvas(7, 11);
  canvas.text(0, 0, "H7");
  EXPECT_EQ(drawn(canvas),
            "#...#.#####\n"
            "#...#.....#\n"
            "#...#....#.\n"
            "#####...#..\n"
            "#...#...#..\n"
            "#...#...#..\n"
            "#...#...#..\n");
}

TEST(Canvas, EveryCharacterLooksDifferent) {
  std::set<std::string> looks;
  for (char c = ' '; c <= '~'; ++c) {
    Canvas canvas(7, 5);
    canvas.text(0, 0, std::string(1, c));
    looks.insert(drawn(canvas));
  }
  EXPECT_EQ(looks.size(), 95);
}

TEST(Canvas, TellsTheSizeOfText) {
  EXPECT_EQ(Canvas::text_width("abc"), 18);
  EXPECT_EQ(Canvas::text_width("abc", 2), 36);
  EXPECT_EQ(Canvas::text_height(2), 18);
}

TEST(Canvas, UnknownCharactersBecomeQuestionMarks) {
  Canvas a(7, 5), b(7, 5);
  a.text(0, 0, "\x01");
  b.text(0, 0, "?");
  EXPECT_EQ(drawn(a), drawn(b));
}

TEST(Canvas, EnlargesPictures) {
  Canvas canvas(4, 6);
  const std::vector<uint8_t> picture = {255, 255, 255, 0, 0, 0};  // one row: white, black
  canvas.picture(1, 1, picture, 1, 2, 2);
  EXPECT_EQ(drawn(canvas), "......\n.##...\n.##...\n......\n");
  EXPECT_EQ(drawn(canvas, {0, 0, 0}), "......\n...##.\n...##.\n......\n");
}

TEST(Canvas, CutsOffWhatFallsOutside) {
  Canvas canvas(4, 4);
  canvas.picture(-1, -1, std::vector<uint8_t>(12, 255), 2, 2);
  canvas.rectangle(3, 3, 100, 100, {});
  canvas.rectangle(-5, 2, 2, 100, {});
  canvas.text(-100, 100, "far away");
  EXPECT_EQ(drawn(canvas), "#...\n....\n....\n...#\n");
}

TEST(Canvas, RefusesPicturesOfTheWrongSize) {
  Canvas canvas(4, 4);
  EXPECT_THROW(canvas.picture(0, 0, std::vector<uint8_t>(11), 2, 2), Error);
  EXPECT_THROW(Canvas(0, 4), Error);
}

}  // namespace
}  // namespace praxino
