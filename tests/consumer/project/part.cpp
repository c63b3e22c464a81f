#include <praxino/base/error.h>
#include <praxino/config/load.h>

#include <cstdio>

int main() {
  try {
    praxino::parse_run("optim: {learning_rate: 1}", "example.yaml");
  } catch (const praxino::Error& error) {
    std::puts(error.what());
    return 0;
  }
  return 1;
}
