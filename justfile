# What CI does.
check:
    bash .ci/run
