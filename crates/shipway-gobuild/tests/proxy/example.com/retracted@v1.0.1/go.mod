module example.com/retracted

go 1.21

require example.com/app v1.0.0

retract v1.0.1 // published by mistake
