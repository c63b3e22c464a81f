#include "praxino/tokenizer/tokenizer.h"

#include "patch.h"
#include "praxino/base/error.h"

namespace praxino {

std::unique_ptr<Tokenizer> make_tokenizer(const TokenizerConfig& config,
                                          std::array<int64_t, 2> size) {
  if (size[0] % config.patch != 0 || size[1] % config.patch != 0) {
    fail_usage(
        "tokenizer.patch {} does not divide data.size [{}, {}]; choose a size of whole patches",
        config.patch, size[0], size[1]);
  }
  return std::make_unique<PatchTokenizer>(config.patch, size);
}

}  // namespace praxino
