# Source this in the project's folder. It defines the build of the suites in C and C++. The library has handle checks and
# test hooks, and uses the system's allocator, so that valgrind and the sanitizers track every block.
strict=(-Wall -Wextra -Werror -pedantic -Iinclude)
checked=(-p florence2-ffi -p workspace-hack --no-default-features --features demo,test-hooks,handle-checks --quiet)
export RUST_BACKTRACE=0

# Builds the suites as FOLDER/NAME and FOLDER/NAME_cpp:   suites FOLDER NAME LIBRARY [COMPILER_FLAG..]
suites() {
    local folder=$1 name=$2 library=$3
    shift 3
    cc -std=c11 -g "${strict[@]}" "$@" tests/c/suite.c "$library" -lm -pthread -o "$folder/$name"
    c++ -std=c++17 -g "${strict[@]}" "$@" -Ibindings/cpp tests/cpp/suite.cpp "$library" -lm -pthread -o "$folder/${name}_cpp"
}
