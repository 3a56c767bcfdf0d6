module example.com/future

go 1.99

require example.com/app v1.0.0
