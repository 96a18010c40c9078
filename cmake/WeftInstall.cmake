# What `make build` builds and `make install` copies. Included last: a program that the tree does
# not have yet is left out.
include(GNUInstallDirs)

set(WEFT_CNI_DIRS /usr/lib/cni /opt/cni/bin CACHE STRING
    "Where the CNI plugin goes: Debian's podman looks in the first, containerd and CRI-O in the second")
set(WEFT_SYSCONFDIR /etc CACHE PATH "Configuration")

# Everything a node needs and nothing of the tests.
add_custom_target(product)
add_dependencies(product weft_bpf_objects)
foreach(program weftd weft weft-operator weft-cni)
  if(TARGET ${program})
    add_dependencies(product ${program})
  endif()
endforeach()

if(TARGET weftd)
  install(TARGETS weftd RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR})
endif()
if(TARGET weft-operator)
  install(TARGETS weft-operator RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR})
endif()
if(TARGET weft)
  install(TARGETS weft RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
if(TARGET weft-cni)
  # Copies, not links: the directories are often mounted into containers one by one.
  foreach(directory ${WEFT_CNI_DIRS})
    install(PROGRAMS $<TARGET_FILE:weft-cni> DESTINATION ${directory})
  endforeach()
endif()
install(DIRECTORY ${WEFT_BPF_DIR}/ DESTINATION lib/weft/bpf
        FILES_MATCHING PATTERN "*.bpf.o" PATTERN CMakeFiles EXCLUDE)
install(FILES ${CMAKE_SOURCE_DIR}/deploy/weftd.service ${CMAKE_SOURCE_DIR}/deploy/weft-operator.service
        DESTINATION /lib/systemd/system)
install(FILES ${CMAKE_SOURCE_DIR}/deploy/weftd.yaml ${CMAKE_SOURCE_DIR}/deploy/weft-operator.yaml
        DESTINATION ${WEFT_SYSCONFDIR}/weft)
install(FILES ${CMAKE_SOURCE_DIR}/deploy/10-weft.conflist DESTINATION ${CMAKE_INSTALL_DOCDIR})
if(TARGET weft)
  # The program writes its own completions, so they cannot lag behind its options.
  foreach(shell_and_file bash:bash-completion/completions/weft zsh:zsh/vendor-completions/_weft
          fish:fish/vendor_completions.d/weft.fish)
    string(REPLACE ":" ";" pair ${shell_and_file})
    list(GET pair 0 shell)
    list(GET pair 1 file)
    get_filename_component(directory ${file} DIRECTORY)
    get_filename_component(name ${file} NAME)
    set(generated ${CMAKE_BINARY_DIR}/completion/${shell})
    install(CODE "execute_process(COMMAND \"${CMAKE_BINARY_DIR}/bin/weft\" completion ${shell}
                  OUTPUT_FILE \"${generated}\" COMMAND_ERROR_IS_FATAL ANY)")
    install(FILES ${generated} DESTINATION ${CMAKE_INSTALL_DATADIR}/${directory} RENAME ${name})
  endforeach()
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/completion)
endif()
install(FILES ${CMAKE_SOURCE_DIR}/LICENSE ${CMAKE_SOURCE_DIR}/README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
