// Splitting a YAML text into its documents, so that a syntax error in one leaves the others good.
#pragma once

#include <string_view>
#include <vector>

namespace weft::model {

struct DocumentText {
  std::string_view text;
  int first_line = 1;
};

// Cut at "---" and "..." in the first column, which end a document wherever they stand, also inside
// a block scalar. Documents of only blank lines and comments are left out.
std::vector<DocumentText> split_documents(std::string_view text);

// The byte offset of the first thing YAML text must not hold: a byte that is not UTF-8 or a control
// character; npos when there is none.
std::size_t find_bad_byte(std::string_view text);

}  // namespace weft::model
