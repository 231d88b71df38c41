module florence2

go 1.24
