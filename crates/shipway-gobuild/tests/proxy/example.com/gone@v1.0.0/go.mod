module example.com/gone

go 1.21

require example.com/app v1.0.0

retract v1.0.0 // never mind
