// The `weft` program.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>

#include "cli/app.h"

int main(int argc, char** argv) {
  // SIGPIPE and SIGINT keep their defaults: `weft observe -f | head` and Ctrl-C end quietly.
  std::ios::sync_with_stdio(false);
  const bool tty = ::isatty(STDOUT_FILENO) == 1;
  const char* no_color = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  const bool colour = tty && (no_color == nullptr || *no_color == '\0') &&
                      (terminal == nullptr || std::string_view(terminal) != "dumb");
  try {
    const int code = weft::cli::run({argv + 1, argv + argc}, {.in = std::cin,
                                                              .out = std::cout,
                                                              .err = std::cerr,
                                                              .tty = tty,
                                                              .err_tty = ::isatty(STDERR_FILENO) == 1,
                                                              .colour = colour});
    // Commands of the lab write through stdio. A disk that is full shows only now.
    const bool written = std::cout.flush().good() && std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
    if (written || code != weft::cli::exit_ok) return code;
    std::cerr << "weft: the output cannot be written: the disk is full or the file is closed\n";
    return weft::cli::exit_failed;
  } catch (const std::exception& error) {
    std::cerr << "weft: " << error.what() << '\n';
    return weft::cli::exit_failed;
  }
}
