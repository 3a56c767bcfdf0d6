module example.com/good

go 1.21

require example.com/app v1.0.0
