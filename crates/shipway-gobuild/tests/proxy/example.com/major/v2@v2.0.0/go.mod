module example.com/major/v2

go 1.21

require example.com/app v1.0.0
