// A gRPC server and a client of it, both of google.golang.org/grpc: what `cargo xtask conform`
// runs through a real Shipway. Messages are bytes, so that no code has to be generated.
//
//	echo serve ADDRESS
//	echo check ADDRESS AUTHORITY    one call of each kind, then a line "ok"
//	echo hold ADDRESS AUTHORITY     a call both ways: each line of standard input there and back
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// plain carries bytes as they are, and generated messages as such.
type plain struct{}

func (plain) Name() string { return "plain" }
func (plain) Marshal(v any) ([]byte, error) {
	if m, ok := v.(proto.Message); ok {
		return proto.Marshal(m)
	}
	return *v.(*[]byte), nil
}
func (plain) Unmarshal(data []byte, v any) error {
	if m, ok := v.(proto.Message); ok {
		return proto.Unmarshal(data, m)
	}
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}

func receive(s interface{ RecvMsg(any) error }) (string, error) {
	var b []byte
	err := s.RecvMsg(&b)
	return string(b), err
}

func send(s interface{ SendMsg(any) error }, text string) error {
	b := []byte(text)
	return s.SendMsg(&b)
}

func unary(_ any, s grpc.ServerStream) error {
	text, err := receive(s)
	if err != nil {
		return err
	}
	s.SetTrailer(metadata.Pairs("x-after", "all"))
	md, _ := metadata.FromIncomingContext(s.Context())
	return send(s, fmt.Sprint("heard ", text, " ", md.Get("x-forwarded-host"), " ", md.Get("x-mine")))
}

func many(_ any, s grpc.ServerStream) error {
	text, err := receive(s)
	count, _ := strconv.Atoi(text)
	for n := 0; n < count && err == nil; n++ {
		err = send(s, strconv.Itoa(n))
	}
	return err
}

func sum(_ any, s grpc.ServerStream) error {
	total := 0
	for {
		text, err := receive(s)
		if err == io.EOF {
			return send(s, strconv.Itoa(total))
		} else if err != nil {
			return err
		}
		n, _ := strconv.Atoi(text)
		total += n
	}
}

func chat(_ any, s grpc.ServerStream) error {
	for {
		text, err := receive(s)
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := send(s, text); err != nil {
			return err
		}
	}
}

func fail(_ any, s grpc.ServerStream) error {
	return status.Error(codes.NotFound, "no such thing: 100% ä")
}

func slow(_ any, s grpc.ServerStream) error {
	<-s.Context().Done()
	log.Print("given up: ", s.Context().Err())
	return s.Context().Err()
}

var kinds = []grpc.StreamDesc{
	{StreamName: "Unary", Handler: unary, ServerStreams: true, ClientStreams: true},
	{StreamName: "Many", Handler: many, ServerStreams: true, ClientStreams: true},
	{StreamName: "Sum", Handler: sum, ServerStreams: true, ClientStreams: true},
	{StreamName: "Chat", Handler: chat, ServerStreams: true, ClientStreams: true},
	{StreamName: "Fail", Handler: fail, ServerStreams: true, ClientStreams: true},
	{StreamName: "Slow", Handler: slow, ServerStreams: true, ClientStreams: true},
}

func serve(address string) {
	listener, err := net.Listen("tcp", address)
	must(err)
	server := grpc.NewServer(grpc.ForceServerCodec(plain{}))
	server.RegisterService(&grpc.ServiceDesc{ServiceName: "echo.Echo", HandlerType: (*any)(nil), Streams: kinds}, nil)
	healthpb.RegisterHealthServer(server, health.NewServer())
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() { <-stop; server.GracefulStop() }()
	must(server.Serve(listener))
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func want(is bool, what ...any) {
	if !is {
		log.Fatal(fmt.Sprint(what...))
	}
}

func call(c *grpc.ClientConn, kind string) (grpc.ClientStream, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	ctx = metadata.AppendToOutgoingContext(ctx, "x-mine", "kept")
	desc := grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	s, err := c.NewStream(ctx, &desc, "/echo.Echo/"+kind, grpc.ForceCodec(plain{}))
	must(err)
	return s, cancel
}

func check(c *grpc.ClientConn, authority string) {
	s, done := call(c, "Unary")
	must(send(s, "hello"))
	must(s.CloseSend())
	text, err := receive(s)
	must(err)
	want(text == "heard hello ["+authority+"] [kept]", text)
	_, err = receive(s)
	want(err == io.EOF && s.Trailer().Get("x-after")[0] == "all", err, s.Trailer())
	done()

	s, done = call(c, "Many")
	must(send(s, "100000"))
	for n := 0; n < 100000; n++ {
		if n == 5000 {
			time.Sleep(300 * time.Millisecond) // the server runs ahead until it may not
		}
		text, err := receive(s)
		want(err == nil && text == strconv.Itoa(n), n, text, err)
	}
	done()

	s, done = call(c, "Sum")
	for n := 0; n < 50000; n++ {
		must(send(s, "0002"))
	}
	must(s.CloseSend())
	text, err = receive(s)
	want(err == nil && text == "100000", text, err)
	done()

	s, done = call(c, "Chat")
	for n := 0; n < 500; n++ {
		must(send(s, strconv.Itoa(n)))
		text, err := receive(s)
		want(err == nil && text == strconv.Itoa(n), text, err)
	}
	must(s.CloseSend())
	_, err = receive(s)
	want(err == io.EOF, err)
	done()

	s, done = call(c, "Fail")
	_, err = receive(s)
	want(status.Code(err) == codes.NotFound && status.Convert(err).Message() == "no such thing: 100% ä", err)
	done()

	s, _ = call(c, "Nothing")
	_, err = receive(s)
	want(status.Code(err) == codes.Unimplemented, err)

	s, done = call(c, "Slow")
	must(send(s, "x"))
	time.AfterFunc(50*time.Millisecond, done)
	_, err = receive(s)
	want(errors.Is(err, context.Canceled) || status.Code(err) == codes.Canceled, err)

	answer, err := healthpb.NewHealthClient(c).Check(context.Background(), &healthpb.HealthCheckRequest{})
	want(err == nil && answer.Status == healthpb.HealthCheckResponse_SERVING, answer, err)
	fmt.Println("ok")
}

func hold(c *grpc.ClientConn) {
	s, done := call(c, "Chat")
	defer done()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		must(send(s, lines.Text()))
		text, err := receive(s)
		must(err)
		fmt.Println(text)
	}
	must(s.CloseSend())
	_, err := receive(s)
	want(err == io.EOF, err)
	fmt.Println("end")
}

func main() {
	log.SetFlags(0)
	if os.Args[1] == "serve" {
		serve(os.Args[2])
		return
	}
	c, err := grpc.NewClient("passthrough:///"+os.Args[2], grpc.WithAuthority(os.Args[3]),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(err)
	if os.Args[1] == "hold" {
		hold(c)
		return
	}
	check(c, os.Args[3])
}
