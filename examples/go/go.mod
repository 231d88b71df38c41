module detect

go 1.24

require florence2 v0.0.0

replace florence2 => ../../bindings/go
