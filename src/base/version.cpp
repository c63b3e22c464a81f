#include "praxino/base/version.h"

namespace praxino {

std::string_view version() { return PRAXINO_VERSION; }

}  // namespace praxino
