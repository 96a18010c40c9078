# weft_room(<name> [DEPS room...] [LIBS library...])
# One folder is one static library `weft_<name>`: every *.cpp beside the CMakeLists.txt except
# *_test.cpp, which make `<name>_test`. DEPS are the rooms it may include; tools/check-includes
# reads the same lines, so the build and the include graph cannot drift apart.
include(GoogleTest)

function(weft_room name)
  cmake_parse_arguments(ROOM "" "" "DEPS;LIBS;TEST_DEPS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cpp$")
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")
  list(TRANSFORM ROOM_DEPS PREPEND weft_)
  list(TRANSFORM ROOM_TEST_DEPS PREPEND weft_)
  if(sources)
    add_library(weft_${name} STATIC ${sources})
    target_link_libraries(weft_${name} PUBLIC weft_options ${ROOM_DEPS} ${ROOM_LIBS})
  else()
    add_library(weft_${name} INTERFACE)
    target_link_libraries(weft_${name} INTERFACE weft_options ${ROOM_DEPS} ${ROOM_LIBS})
  endif()
  if(WEFT_TESTS AND NOT WEFT_FUZZ AND tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE weft_${name} ${ROOM_TEST_DEPS} GTest::gmock_main)
    add_test(NAME unit.${name} COMMAND ${name}_test)
    set_tests_properties(unit.${name} PROPERTIES LABELS unit TIMEOUT 300)
    if(WEFT_SANITIZE)
      # Asio 1.22 frees with operator delete what it got from aligned_alloc (thread_info_base's
      # destructor); newer ones do not. Both end in free().
      set_tests_properties(unit.${name} PROPERTIES ENVIRONMENT ASAN_OPTIONS=alloc_dealloc_mismatch=0)
    endif()
  endif()
endfunction()

find_package(GTest REQUIRED)
find_package(fmt REQUIRED)
find_package(PkgConfig REQUIRED)
