module example.org/libflorence2/bindings/go

go 1.24
