// Go's own server as an origin: the arguments are a socket's path and a log's.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
)

func main() {
	listener, err := net.Listen("unix", os.Args[1])
	if err != nil {
		panic(err)
	}
	log, err := os.OpenFile(os.Args[2], os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		panic(err)
	}
	var lock sync.Mutex
	panic(http.Serve(listener, http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		seen := fmt.Sprintf("%s %s %s", request.Method, request.RequestURI, request.Header.Get("X-Request-Id"))
		lock.Lock()
		fmt.Fprintln(log, seen)
		lock.Unlock()
		io.Copy(io.Discard, request.Body)
		fmt.Fprintf(answer, "seen %s;", seen)
	})))
}
