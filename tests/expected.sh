# Source this in the project's folder. It defines:
#   expected_objects    prints the lines of examples/c/detect.c for the demo model's first scene, as the guide's page on C
#                       shows them
expected_objects() {
    sed -n '/^\$ \.\/detect/,/^```/{/^\$/d;/^```/q;p}' docs/src/languages/c.md | grep .
}
