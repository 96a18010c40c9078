# cmake -DROOT=DIR -DOUTPUT=FILE.cpp -DFILES=A;B -P EmbedFiles.cmake: files as the strings of src/chart/embedded.h, named by
# their paths below ROOT.
list(SORT FILES)
set(text "#include \"chart/embedded.h\"\n\nnamespace weft::chart {\n\nconst std::vector<EmbeddedFile>& embedded_files() {\n")
string(APPEND text "  static const std::vector<EmbeddedFile> files{\n")
foreach(file ${FILES})
  file(READ ${file} content)
  file(RELATIVE_PATH name ${ROOT} ${file})
  string(APPEND text "      {\"${name}\", R\"embedded(${content})embedded\"},\n")
endforeach()
string(APPEND text "  };\n  return files;\n}\n\n}  // namespace weft::chart\n")
file(WRITE ${OUTPUT} "${text}")
