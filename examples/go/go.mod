module detect

go 1.24

require example.org/libflorence2/bindings/go v0.0.0

replace example.org/libflorence2/bindings/go => ../../bindings/go
