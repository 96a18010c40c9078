# weft_bpf_program(<hook>): bpf/prog/<hook>.bpf.c -> build/bpf/<hook>.bpf.o and its skeleton
# header <build>/generated/bpf/<hook>.skel.h, built by clang and bpftool at build time only.
find_program(WEFT_BPF_CLANG NAMES clang-19 REQUIRED)
find_program(WEFT_BPF_STRIP NAMES llvm-strip-19 REQUIRED)
find_program(WEFT_BPFTOOL NAMES bpftool PATHS /usr/sbin REQUIRED)
set(WEFT_BPF_DIR ${CMAKE_BINARY_DIR}/bpf)
set(WEFT_GENERATED_DIR ${CMAKE_BINARY_DIR}/generated)
add_custom_target(bpf_objects)  # every object and the header made of it
file(MAKE_DIRECTORY ${WEFT_BPF_DIR} ${WEFT_GENERATED_DIR}/bpf)

function(weft_bpf_program hook)
  set(source ${CMAKE_SOURCE_DIR}/bpf/prog/${hook}.bpf.c)
  set(object ${WEFT_BPF_DIR}/${hook}.bpf.o)
  set(skeleton ${WEFT_GENERATED_DIR}/bpf/${hook}.skel.h)
  add_custom_command(OUTPUT ${object}
    COMMAND ${WEFT_BPF_CLANG} -target bpf -mcpu=v3 -O2 -g -Wall -Wextra -Werror
            -I${CMAKE_SOURCE_DIR} -I${CMAKE_SOURCE_DIR}/bpf -isystem /usr/include/x86_64-linux-gnu
            -MD -MF ${object}.d -MT ${object} -c ${source} -o ${object}
    COMMAND ${WEFT_BPF_STRIP} -g ${object}
    DEPENDS ${source} DEPFILE ${object}.d VERBATIM
    COMMENT "BPF object ${hook}")
  add_custom_command(OUTPUT ${skeleton}
    COMMAND sh -c "${WEFT_BPFTOOL} gen skeleton ${object} name ${hook}_bpf > ${skeleton}.tmp && mv ${skeleton}.tmp ${skeleton}"
    DEPENDS ${object} VERBATIM)
  add_custom_target(bpf_${hook} ALL DEPENDS ${object} ${skeleton})
  add_dependencies(weft_bpf_objects bpf_${hook})
  add_dependencies(bpf_objects bpf_${hook})
endfunction()
