module attempt

go 1.26
