#pragma once
// A run is one YAML file: these sections. Each field is declared once, with its default, unit and
// when to change it (config/fields.h). The resolved run is stored as config.yaml in the run
// directory and re-creates the run. Modules receive their own section, never the whole run.

#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "praxino/config/fields.h"
#include "praxino/config/kernels.h"
#include "praxino/config/parallel.h"

namespace praxino {

struct RunSection {
  std::string name = "run";
  std::string output = "runs";
  int64_t seed = 1;
  int64_t steps = 1000;
  double max_minutes = 0;
  std::string device = "auto";
  std::string precision = "auto";
  int64_t threads = 0;
  bool cuda_graphs = false;
};

template <class Visitor>
void visit_fields(Visitor& v, RunSection& c) {
  v(Field{.key = "name",
          .about = "folder of this run below `output`",
          .when = "for every new experiment"},
    c.name);
  v(Field{.key = "output", .about = "folder that holds the runs"}, c.output);
  v(Field{.key = "seed",
          .about = "everything random follows from it",
          .when = "to repeat a run with other draws",
          .low = 0},
    c.seed);
  v(Field{.key = "steps",
          .about = "optimizer steps of the whole run",
          .when = "longer runs learn more",
          .low = 1},
    c.steps);
  v(Field{.key = "max_minutes",
          .about = "time limit of training in minutes, 0 for none; the schedule then follows the "
                   "clock where that is ahead of the steps, and such a run is not repeatable bit "
                   "by bit",
          .when = "for a demo that must end in time on any machine",
          .low = 0},
    c.max_minutes);
  v(Field{.key = "device", .about = "auto (the GPU if there is one), cpu, cuda or cuda:N"},
    c.device);
  v(Field{.key = "precision",
          .about = "of the blocks' matrix products: fp32, bf16 (fp32 accumulation, weights and "
                   "norms stay fp32), or auto: bf16 where the processor multiplies it natively, "
                   "else fp32; Muon's own products choose as auto does",
          .when = "fp32 to compare with other machines, whose results are then close but never "
                  "the same bits",
          .choices = {"auto", "fp32", "bf16"}},
    c.precision);
  v(Field{.key = "threads",
          .about = "threads for the model on the CPU; 0: one per core",
          .low = 0,
          .high = 1024},
    c.threads);
  v(Field{.key = "cuda_graphs",
          .about =
              "on a GPU, record the training step, and a rollout's frame, once and replay them "
              "as one launch each; what cannot be recorded runs as it is",
          .when = "for small models, whose steps are shorter than their launches; off until "
                  "measured on a GPU"},
    c.cuda_graphs);
}

struct SplitConfig {
  double val = 0.1;
  std::vector<std::string> val_files;
};

template <class Visitor>
void visit_fields(Visitor& v, SplitConfig& c) {
  v(Field{.key = "val",
          .about = "share held out for evaluation: whole files, or the last span of each file when "
                   "there are fewer than four",
          .low = 0,
          .high = 0.9},
    c.val);
  v(Field{.key = "val_files",
          .about = "hold out exactly these files (paths below data.path) instead"},
    c.val_files);
}

struct DataConfig {
  std::string path;
  int64_t clip_frames = 16;
  double fps = 0;
  std::array<int64_t, 2> size = {64, 64};
  std::string resize = "area";
  int64_t batch = 8;
  int64_t workers = 1;
  int64_t ahead = 4;
  double max_bad = 0.05;
  SplitConfig split;
};

template <class Visitor>
void visit_fields(Visitor& v, DataConfig& c) {
  v(Field{.key = "path", .about = "folder of the data set", .when = "to train on your own video"},
    c.path);
  v(Field{.key = "clip_frames",
          .about = "frames of a training clip",
          .when = "longer for longer memory; cost grows with it",
          .low = 2,
          .high = 4096},
    c.clip_frames);
  v(Field{.key = "fps",
          .about = "frames a second that the model sees; 0: the data set's own",
          .when = "lower when neighbouring frames hardly differ",
          .low = 0,
          .high = 1000},
    c.fps);
  v(Field{.key = "size",
          .about = "[height, width] in pixels; each a multiple of tokenizer.patch",
          .low = 4,
          .high = 4096},
    c.size);
  v(Field{.key = "resize",
          .about = "filter of the one-pass scaling",
          .choices = {"area", "bilinear", "bicubic"}},
    c.resize);
  v(Field{.key = "batch",
          .about = "clips in a micro-batch, over all ranks together",
          .when = "as large as memory allows",
          .low = 1,
          .high = 65536},
    c.batch);
  v(Field{.key = "workers",
          .about = "decoding threads",
          .when = "more when train/loader_wait is above 0.03",
          .low = 1,
          .high = 256},
    c.workers);
  v(Field{.key = "ahead", .about = "batches decoded ahead at most", .low = 1, .high = 1024},
    c.ahead);
  v(Field{.key = "max_bad",
          .about = "share of clips that may fail to decode before the run stops",
          .low = 0,
          .high = 1},
    c.max_bad);
  v(Field{.key = "split", .about = "what training never sees"}, c.split);
}

struct TokenizerConfig {
  std::string kind = "patch";
  int64_t patch = 8;
};

template <class Visitor>
void visit_fields(Visitor& v, TokenizerConfig& c) {
  v(Field{.key = "kind",
          .about = "patch: pixels in [-1,1] cut into squares, exact",
          .choices = {"patch"}},
    c.kind);
  v(Field{.key = "patch",
          .about = "side of a patch in pixels",
          .when = "smaller is sharper and dearer: cost grows with (1/patch)^2 at least",
          .low = 1,
          .high = 64},
    c.patch);
}

struct ModelConfig {
  int64_t width = 256;
  int64_t depth = 6;
  int64_t heads = 4;
  int64_t kv_heads = 0;
  double mlp_ratio = 4.0;
  std::string attention = "space_time";
  int64_t time_every = 3;
  int64_t window = 0;
  int64_t sinks = 0;
  int64_t registers = 2;
  double rope_base = 100.0;
  bool input_scaling = true;
  bool temporal_preconditioning = true;
  bool activation_checkpointing = false;
};

template <class Visitor>
void visit_fields(Visitor& v, ModelConfig& c) {
  v(Field{.key = "width",
          .about = "width D of a token inside the transformer",
          .when = "the main knob of capacity",
          .low = 8,
          .high = 65536},
    c.width);
  v(Field{.key = "depth", .about = "number of blocks", .low = 1, .high = 1024}, c.depth);
  v(Field{.key = "heads",
          .about = "attention heads H; width / heads must be an even number >= 8",
          .low = 1,
          .high = 1024},
    c.heads);
  v(Field{.key = "kv_heads",
          .about = "key/value heads shared by groups of query heads; 0: as many as heads",
          .when = "fewer to shrink the rollout cache",
          .low = 0,
          .high = 1024},
    c.kv_heads);
  v(Field{.key = "mlp_ratio",
          .about = "hidden width of the SwiGLU feed-forward, counted as a plain one of this ratio",
          .low = 0.5,
          .high = 16},
    c.mlp_ratio);
  v(Field{.key = "attention",
          .about = "space_time: inside a frame, and every time_every-th block along time; "
                   "frame_causal: all tokens of this and earlier frames",
          .when = "frame_causal for small clips where things move far between frames",
          .choices = {"space_time", "frame_causal"}},
    c.attention);
  v(Field{.key = "time_every",
          .about = "space_time: every n-th block attends along time",
          .low = 1,
          .high = 64},
    c.time_every);
  v(Field{.key = "window",
          .about = "frames that a frame sees, itself included; 0: data.clip_frames",
          .low = 0,
          .high = 65536},
    c.window);
  v(Field{.key = "sinks",
          .about = "first frames that stay visible outside the window",
          .low = 0,
          .high = 64},
    c.sinks);
  v(Field{.key = "registers", .about = "learned extra tokens a frame", .low = 0, .high = 256},
    c.registers);
  v(Field{.key = "rope_base", .about = "base of the rotary frequencies", .low = 1}, c.rope_base);
  v(Field{.key = "input_scaling",
          .about = "the noisy input enters as the best linear estimate of the clean one, so that "
                   "pure noise enters as nothing"},
    c.input_scaling);
  v(Field{.key = "temporal_preconditioning",
          .about = "prediction = a * input + b * previous frame + network, with two learned gates "
                   "a frame that depend on both signal levels"},
    c.temporal_preconditioning);
  v(Field{.key = "activation_checkpointing",
          .about = "recompute blocks in the backward pass: less memory, a third more work",
          .when = "when a run does not fit"},
    c.activation_checkpointing);
}

struct ObjectiveConfig {
  std::string kind = "diffusion_forcing";
  std::string signal = "uniform";
  bool ramp_weight = true;
  double clean_context = 0.75;
  double context_noise = 0.1;
  double action_dropout = 0.1;
  int64_t sampler_steps = 4;
};

template <class Visitor>
void visit_fields(Visitor& v, ObjectiveConfig& c) {
  v(Field{.key = "kind",
          .about = "diffusion_forcing: every frame has its own signal level, the network predicts "
                   "clean data",
          .choices = {"diffusion_forcing"}},
    c.kind);
  v(Field{.key = "signal",
          .about = "law of the signal level: uniform, or logit_normal (more in the middle)",
          .choices = {"uniform", "logit_normal"}},
    c.signal);
  v(Field{.key = "ramp_weight", .about = "weight the loss of a frame by 0.9 tau + 0.1"},
    c.ramp_weight);
  v(Field{.key = "clean_context",
          .about = "share of clips whose frames before a random cut are nearly clean, as they are "
                   "in a rollout",
          .low = 0,
          .high = 1},
    c.clean_context);
  v(Field{.key = "context_noise",
          .about = "1 - tau of the frames that a rollout continues; training sees context from 0 "
                   "to 1.5 times this, at most 1",
          .low = 0,
          .high = 0.9},
    c.context_noise);
  v(Field{.key = "action_dropout",
          .about = "share of clips trained without actions",
          .low = 0,
          .high = 1},
    c.action_dropout);
  v(Field{.key = "sampler_steps",
          .about = "steps K from noise to a frame in a rollout",
          .when = "1 is fastest and blurs most",
          .low = 1,
          .high = 1024},
    c.sampler_steps);
}

struct OptimConfig {
  std::string kind = "muon";
  double lr = 0.01;
  double adamw_lr = 1e-3;
  std::array<double, 2> betas = {0.9, 0.99};
  double momentum = 0.95;
  double weight_decay = 0.01;
  int64_t warmup = 50;
  std::string schedule = "wsd";
  double decay = 0.3;
  double clip = 1.0;
  double ema = 0.999;
  int64_t gradient_accumulation = 1;
  int64_t max_skipped = 20;
};

template <class Visitor>
void visit_fields(Visitor& v, OptimConfig& c) {
  v(Field{.key = "kind",
          .about =
              "muon: Muon for matrices inside the blocks, AdamW for the rest; adamw: AdamW for all",
          .choices = {"muon", "adamw"}},
    c.kind);
  v(Field{.key = "lr",
          .about = "peak learning rate of Muon (of AdamW where kind is adamw)",
          .when = "the first knob when the loss stalls or jumps",
          .low = 0,
          .high = 10},
    c.lr);
  v(Field{.key = "adamw_lr",
          .about = "peak learning rate of AdamW beside Muon",
          .low = 0,
          .high = 10},
    c.adamw_lr);
  v(Field{.key = "betas",
          .about = "AdamW's decay rates of both moments",
          .low = 0,
          .high = 0.999999},
    c.betas);
  v(Field{.key = "momentum", .about = "Muon's Nesterov momentum", .low = 0, .high = 0.9999},
    c.momentum);
  v(Field{.key = "weight_decay",
          .about = "decoupled weight decay of matrices",
          .low = 0,
          .high = 10},
    c.weight_decay);
  v(Field{.key = "warmup", .about = "steps of linear warm-up", .low = 0}, c.warmup);
  v(Field{.key = "schedule",
          .about = "after the warm-up: wsd (flat, then linear to zero), cosine, or constant",
          .choices = {"wsd", "cosine", "constant"}},
    c.schedule);
  v(Field{.key = "decay",
          .about = "wsd: share of the run in which the rate falls",
          .low = 0,
          .high = 1},
    c.decay);
  v(Field{.key = "clip", .about = "largest global gradient norm; 0: no clipping", .low = 0},
    c.clip);
  v(Field{.key = "ema",
          .about = "decay of the averaged weights that evaluation and rollouts use; 0: none",
          .when = "0.99 for runs of a few hundred steps",
          .low = 0,
          .high = 0.999999},
    c.ema);
  v(Field{.key = "gradient_accumulation",
          .about = "micro-batches in a step",
          .low = 1,
          .high = 65536},
    c.gradient_accumulation);
  v(Field{.key = "max_skipped",
          .about = "steps in a row that may be skipped for a loss or gradient that is not finite",
          .low = 1},
    c.max_skipped);
}

struct CheckpointConfig {
  int64_t every = 500;
  int64_t keep = 3;
  bool background = true;
};

template <class Visitor>
void visit_fields(Visitor& v, CheckpointConfig& c) {
  v(Field{.key = "every",
          .about = "steps between checkpoints; one is written at the end and at a stop signal, too",
          .low = 1},
    c.every);
  v(Field{.key = "keep", .about = "newest checkpoints kept", .low = 1, .high = 1000000}, c.keep);
  v(Field{.key = "background",
          .about = "written while training goes on, from a copy in host memory; false: training "
                   "waits, and the memory is saved"},
    c.background);
}

struct EvalConfig {
  int64_t every = 0;
  int64_t clips = 16;
  int64_t context = 4;
  int64_t horizon = 8;
  int64_t batch = 8;
  int64_t seed = 1234;
};

template <class Visitor>
void visit_fields(Visitor& v, EvalConfig& c) {
  v(Field{.key = "every",
          .about = "steps between evaluations while training; 0: only at the end",
          .low = 0},
    c.every);
  v(Field{.key = "clips",
          .about = "held-out clips measured",
          .when = "more for narrower intervals",
          .low = 1,
          .high = 1000000},
    c.clips);
  v(Field{.key = "context", .about = "true frames given", .low = 1, .high = 4096}, c.context);
  v(Field{.key = "horizon", .about = "frames imagined after them", .low = 1, .high = 100000},
    c.horizon);
  v(Field{.key = "batch", .about = "clips rolled out at a time", .low = 1, .high = 65536}, c.batch);
  v(Field{.key = "seed", .about = "noise and random actions of the evaluation", .low = 0}, c.seed);
}

/// One line of `expect:`: the run exits with 3 when it is missed.
struct Expectation {
  std::string metric;
  int64_t at = 0;
  double below = std::numeric_limits<double>::infinity();
  double above = -std::numeric_limits<double>::infinity();
};

template <class Visitor>
void visit_fields(Visitor& v, Expectation& c) {
  v(Field{.key = "metric", .about = "name as in log.jsonl, such as train/loss or eval/psnr@1"},
    c.metric);
  v(Field{.key = "at",
          .about = "step at which the newest value is judged; 0: at the end",
          .low = 0},
    c.at);
  v(Field{.key = "below", .about = "the value must be less than this"}, c.below);
  v(Field{.key = "above", .about = "the value must be greater than this"}, c.above);
}

struct RunConfig {
  RunSection run;
  DataConfig data;
  TokenizerConfig tokenizer;
  ModelConfig model;
  ObjectiveConfig objective;
  OptimConfig optim;
  ParallelConfig parallel;
  CheckpointConfig checkpoint;
  EvalConfig eval;
  KernelsConfig kernels;
  std::vector<Expectation> expect;
};

template <class Visitor>
void visit_fields(Visitor& v, RunConfig& c) {
  v(Field{.key = "run", .about = "name, length, device"}, c.run);
  v(Field{.key = "data", .about = "the data set and how clips are cut from it"}, c.data);
  v(Field{.key = "tokenizer", .about = "from pixels to tokens and back"}, c.tokenizer);
  v(Field{.key = "model", .about = "the spatiotemporal transformer"}, c.model);
  v(Field{.key = "objective", .about = "how it learns and samples"}, c.objective);
  v(Field{.key = "optim", .about = "the optimizer and its schedule"}, c.optim);
  v(Field{.key = "parallel", .about = "how several ranks share the work"}, c.parallel);
  v(Field{.key = "checkpoint", .about = "how often and how many"}, c.checkpoint);
  v(Field{.key = "eval", .about = "held-out measurement"}, c.eval);
  v(Field{.key = "kernels",
          .about =
              "which kernels serve on a GPU, by family; `kernels: off` stands for all of them"},
    c.kernels);
  v(Field{.key = "expect", .about = "conditions that turn the run into a test"}, c.expect);
}

}  // namespace praxino
