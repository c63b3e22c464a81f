// A ball in a box that is open at the bottom, and a paddle that keeps it in. Within a frame the
// ball flies from contact to contact in exact steps, so nothing depends on a time step.

#include <array>
#include <cmath>
#include <limits>

#include "data/synthetic_draw.h"
#include "data/synthetic_worlds.h"
#include "praxino/base/random.h"

namespace praxino {
namespace {

enum Move : int64_t { kNone = 0, kLeft = 1, kRight = 2 };

struct Table {
  explicit Table(const SyntheticOptions& o)
      : height(static_cast<double>(o.height)), width(static_cast<double>(o.width)) {}
  double height, width;
  double side = std::min(height, width);
  double radius = 0.06 * side;
  double speed = 0.045 * side;  // of the ball, a frame
  double paddle_half = 0.15 * width;
  double paddle_speed = 0.04 * width;
  double paddle_top = 0.9 * height;
  double paddle_height = 0.05 * height;
  double plane() const { return paddle_top - radius; }  // where the ball's centre meets the paddle
};

struct State {
  double y, x, vy, vx, paddle;
  double hits = 0, lost = 0;
};

enum class Contact { kFrameEnd, kSide, kTop, kPaddlePlane, kExit };

struct NextContact {
  double after;
  Contact contact;
};

NextContact next_contact(const Table& t, const State& s, bool below, double remaining) {
  NextContact next{remaining, Contact::kFrameEnd};
  const auto consider = [&next](double after, Contact contact) {
    if (after < next.after) next = {std::max(after, 0.0), contact};
  };
  if (s.vx != 0) {
    consider(((s.vx > 0 ? t.width - t.radius : t.radius) - s.x) / s.vx, Contact::kSide);
  }
  if (s.vy < 0) consider((t.radius - s.y) / s.vy, Contact::kTop);
  if (s.vy > 0 && !below) consider((t.plane() - s.y) / s.vy, Contact::kPaddlePlane);
  if (s.vy > 0 && below) consider((t.height + t.radius - s.y) / s.vy, Contact::kExit);
  return next;
}

// True when the paddle sends the ball back; the farther from its middle, the flatter.
bool reflect(const Table& t, State& s) {
  const double reach = t.paddle_half + t.radius / 2;
  const double offset = (s.x - s.paddle) / reach;
  if (std::abs(offset) > 1) return false;
  s.vx = 0.8 * offset * t.speed;
  s.vy = -std::sqrt(t.speed * t.speed - s.vx * s.vx);
  ++s.hits;
  return true;
}

void advance(const Table& t, State& s, int64_t move) {
  const double direction = move == kLeft ? -1 : move == kRight ? 1 : 0;
  const double target =
      std::clamp(s.paddle + direction * t.paddle_speed, t.paddle_half, t.width - t.paddle_half);
  const double slide = target - s.paddle;  // a frame
  bool below = s.vy > 0 && s.y >= t.plane();
  for (double remaining = 1; remaining > 0;) {
    const auto [after, contact] = next_contact(t, s, below, remaining);
    s.y += s.vy * after;
    s.x += s.vx * after;
    s.paddle += slide * after;
    remaining -= after;
    switch (contact) {
      case Contact::kFrameEnd: remaining = 0; break;
      case Contact::kSide: s.vx = -s.vx; break;
      case Contact::kTop: s.vy = -s.vy; break;
      case Contact::kPaddlePlane:
        s.y = t.plane();
        below = !reflect(t, s);
        break;
      case Contact::kExit:  // comes in again from above, so that even a lost ball can be predicted
        s.y = -t.radius;
        below = false;
        ++s.lost;
        break;
    }
  }
  s.paddle = target;
}

// Follows the ball about half of the time and moves at random otherwise, so that actions are not a
// function of the picture.
int64_t choose_move(const Table& t, const State& s, bool follow, int64_t random_move) {
  if (!follow) return random_move;
  if (std::abs(s.x - s.paddle) < t.paddle_speed) return kNone;
  return s.x < s.paddle ? kLeft : kRight;
}

State start(const Table& t, Random& random) {
  State s{};
  s.y = random.uniform(0.2, 0.5) * t.height;
  s.x = random.uniform(0.2, 0.8) * t.width;
  s.vx = random.uniform(-0.7, 0.7) * t.speed;
  s.vy = std::sqrt(t.speed * t.speed - s.vx * s.vx);
  s.paddle = random.uniform(0.3, 0.7) * t.width;
  return s;
}

SyntheticEpisode simulate_paddle(const SyntheticOptions& o, uint64_t key) {
  const Table table(o);
  Random random(key);
  State s = start(table, random);
  SyntheticEpisode episode;
  bool follow = false;
  int64_t random_move = kNone;
  int64_t hold = 0;
  for (int64_t k = 0; k < o.frames; ++k) {
    if (hold == 0) {
      hold = 3 + random.integer(6);
      follow = random.uniform() < 0.55;
      random_move = random.integer(3);
    }
    --hold;
    const int64_t move = choose_move(table, s, follow, random_move);
    episode.truth.insert(episode.truth.end(), {s.y, s.x, s.vy, s.vx, s.paddle, s.hits, s.lost});
    episode.actions.push_back(static_cast<float>(move));
    advance(table, s, move);
  }
  return episode;
}

void draw_paddle(const SyntheticOptions& o, std::span<const double> state, std::span<uint8_t> rgb) {
  const Table t(o);
  Painter painter(rgb, o.height, o.width);
  painter.fill({22, 28, 52});
  const double paddle = state[4];
  painter.box({t.paddle_top, paddle - t.paddle_half, t.paddle_top + t.paddle_height,
               paddle + t.paddle_half},
              {70, 200, 240});
  painter.disc(state[0], state[1], t.radius, {250, 200, 60});
}

}  // namespace

SyntheticWorld paddle_world(const SyntheticOptions& options) {
  SyntheticWorld world;
  world.about =
      "A ball bouncing in a box and a paddle at the bottom, moved by the action (0 none, 1 left, 2 "
      "right). The paddle "
      "sends the ball back, the flatter the farther from its middle; a lost ball comes in again "
      "from above.";
  world.actions = {{.name = "move", .kind = "discrete", .size = 3, .unit = "none, left, right"}};
  world.columns = {"ball_y", "ball_x", "ball_vy", "ball_vx", "paddle_x", "hits", "lost"};
  world.simulate = [options](uint64_t key) { return simulate_paddle(options, key); };
  world.draw = [options](std::span<const double> state, std::span<uint8_t> rgb) {
    draw_paddle(options, state, rgb);
  };
  return world;
}

}  // namespace praxino
