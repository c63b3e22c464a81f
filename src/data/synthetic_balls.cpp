// Balls that collide elastically with each other and the walls. Motion is simulated from event to
// event, without a time step, so that energy is conserved to rounding, and momentum between wall
// contacts.

#include <array>
#include <cmath>
#include <limits>

#include "data/synthetic_draw.h"
#include "data/synthetic_worlds.h"
#include "praxino/base/error.h"
#include "praxino/base/random.h"

namespace praxino {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr size_t kBallColumns = 5;  // y x vy vx r

constexpr std::array<Rgb, 12> kColors = {{
    {235, 60, 60},
    {70, 140, 250},
    {250, 210, 60},
    {80, 200, 100},
    {200, 90, 230},
    {250, 140, 40},
    {60, 210, 210},
    {245, 130, 180},
    {240, 240, 240},
    {150, 110, 70},
    {160, 200, 60},
    {120, 120, 200},
}};

struct Ball {
  std::array<double, 2> at;  // y x
  std::array<double, 2> velocity;
  double radius;
  double mass() const { return radius * radius; }
};

struct Scene {
  std::array<double, 2> size;  // height width
  std::vector<Ball> balls;
  double wall_contacts = 0;
  double collisions = 0;
};

// Time until two balls touch, by the smaller root of |dp + dv t| = r1 + r2; kNever unless they
// approach.
double time_to_touch(const Ball& a, const Ball& b) {
  double vv = 0, pv = 0, pp = 0;
  for (size_t d = 0; d < 2; ++d) {
    const double p = b.at[d] - a.at[d];
    const double v = b.velocity[d] - a.velocity[d];
    vv += v * v;
    pv += p * v;
    pp += p * p;
  }
  if (pv >= 0) return kNever;
  const double reach = a.radius + b.radius;
  const double gap = pp - reach * reach;
  const double discriminant = pv * pv - vv * gap;
  if (discriminant < 0) return kNever;
  return std::max(0.0, gap / (-pv + std::sqrt(discriminant)));
}

double time_to_wall(const Ball& ball, size_t dim, double size) {
  const double v = ball.velocity[dim];
  if (v == 0) return kNever;
  const double wall = v > 0 ? size - ball.radius : ball.radius;
  return std::max(0.0, (wall - ball.at[dim]) / v);
}

// Exchanges momentum along the line through both centres.
void collide(Ball& a, Ball& b) {
  std::array<double, 2> normal{};
  double length = 0;
  for (size_t d = 0; d < 2; ++d) {
    normal[d] = b.at[d] - a.at[d];
    length += normal[d] * normal[d];
  }
  length = std::sqrt(length);
  double approach = 0;
  for (size_t d = 0; d < 2; ++d) {
    normal[d] /= length;
    approach += (a.velocity[d] - b.velocity[d]) * normal[d];
  }
  const double impulse = 2 * approach / (1 / a.mass() + 1 / b.mass());
  for (size_t d = 0; d < 2; ++d) {
    a.velocity[d] -= impulse / a.mass() * normal[d];
    b.velocity[d] += impulse / b.mass() * normal[d];
  }
}

struct Event {
  double after;
  size_t ball = 0;
  size_t other = 0;  // equal to `ball`: a wall
  size_t dim = 0;
};

Event next_event(const Scene& scene, double remaining) {
  Event next{.after = remaining};
  const auto& balls = scene.balls;
  for (size_t i = 0; i < balls.size(); ++i) {
    for (size_t d = 0; d < 2; ++d) {
      const double after = time_to_wall(balls[i], d, scene.size[d]);
      if (after < next.after) next = {after, i, i, d};
    }
    for (size_t j = i + 1; j < balls.size(); ++j) {
      const double after = time_to_touch(balls[i], balls[j]);
      if (after < next.after) next = {after, i, j, 0};
    }
  }
  return next;
}

void advance(Scene& scene) {
  for (double remaining = 1; remaining > 0;) {
    const Event event = next_event(scene, remaining);
    const bool frame_ends = event.after >= remaining;
    for (Ball& ball : scene.balls) {
      for (size_t d = 0; d < 2; ++d) ball.at[d] += ball.velocity[d] * event.after;
    }
    remaining -= event.after;
    if (frame_ends) return;
    Ball& ball = scene.balls[event.ball];
    if (event.other == event.ball) {
      ball.velocity[event.dim] = -ball.velocity[event.dim];
      ++scene.wall_contacts;
    } else {
      collide(ball, scene.balls[event.other]);
      ++scene.collisions;
    }
  }
}

bool is_free(const Scene& scene, const Ball& ball) {
  for (const Ball& other : scene.balls) {
    if (std::hypot(ball.at[0] - other.at[0], ball.at[1] - other.at[1]) <=
        1.1 * (ball.radius + other.radius)) {
      return false;
    }
  }
  return true;
}

Scene start(const SyntheticOptions& o, Random& random) {
  Scene scene{.size = {static_cast<double>(o.height), static_cast<double>(o.width)}, .balls = {}};
  const double side = std::min(scene.size[0], scene.size[1]);
  const double crowd = std::sqrt(std::min(1.0, 4.0 / static_cast<double>(o.balls)));
  for (int tries = 0; static_cast<int64_t>(scene.balls.size()) < o.balls; ++tries) {
    if (tries == 100000)
      fail("no room for {} balls in {}x{} pixels; ask for fewer", o.balls, o.height, o.width);
    Ball ball{};
    ball.radius = random.uniform(0.08, 0.13) * side * crowd;
    for (size_t d = 0; d < 2; ++d) {
      ball.at[d] = random.uniform(ball.radius, scene.size[d] - ball.radius);
      ball.velocity[d] = random.uniform(-0.04, 0.04) * side;
    }
    if (is_free(scene, ball)) scene.balls.push_back(ball);
  }
  return scene;
}

SyntheticEpisode simulate_balls(const SyntheticOptions& o, uint64_t key) {
  Random random(key);
  Scene scene = start(o, random);
  SyntheticEpisode episode;
  for (int64_t k = 0; k < o.frames; ++k) {
    for (const Ball& b : scene.balls) {
      episode.truth.insert(episode.truth.end(),
                           {b.at[0], b.at[1], b.velocity[0], b.velocity[1], b.radius});
    }
    episode.truth.insert(episode.truth.end(), {scene.wall_contacts, scene.collisions});
    advance(scene);
  }
  return episode;
}

void draw_balls(const SyntheticOptions& o, std::span<const double> state, std::span<uint8_t> rgb) {
  Painter painter(rgb, o.height, o.width);
  painter.fill({24, 26, 34});
  for (size_t i = 0; i < static_cast<size_t>(o.balls); ++i) {
    const auto ball = state.subspan(i * kBallColumns, kBallColumns);
    painter.disc(ball[0], ball[1], ball[4], kColors[i]);
  }
}

}  // namespace

SyntheticWorld balls_world(const SyntheticOptions& options) {
  SyntheticWorld world;
  world.about =
      "Coloured balls that collide elastically with each other and the walls, without actions. "
      "Ball i has position "
      "y{i}, x{i}, velocity vy{i}, vx{i} and radius r{i}; its mass is the square of its radius.";
  for (int64_t i = 0; i < options.balls; ++i) {
    for (const char* column : {"y", "x", "vy", "vx", "r"}) {
      world.columns.push_back(column + std::to_string(i));
    }
  }
  world.columns.insert(world.columns.end(), {"wall_contacts", "collisions"});
  world.simulate = [options](uint64_t key) { return simulate_balls(options, key); };
  world.draw = [options](std::span<const double> state, std::span<uint8_t> rgb) {
    draw_balls(options, state, rgb);
  };
  return world;
}

}  // namespace praxino
