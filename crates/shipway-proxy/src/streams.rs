//! Byte streams as the rest of the crate wants them.
//!
//! [`Rewound`] is how the fast path hands a connection over: together with the
//! bytes already read from it. [`Visitor`] is a
//! visitor's socket that stays reachable while a protocol engine owns the
//! stream, because the API wants to see it. [`Inner`] is a container's side.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpStream, UnixStream};

/// A stream that begins with bytes already read from it.
#[derive(Debug)]
pub(crate) struct Rewound<T> {
    prefix: Bytes,
    io: T,
}

impl<T> Rewound<T> {
    /// Puts `prefix` before whatever `io` still has.
    pub(crate) const fn new(prefix: Bytes, io: T) -> Self {
        Self { prefix, io }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Rewound<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let count = self.prefix.len().min(buffer.remaining());
        buffer.put_slice(&self.prefix[..count]);
        self.prefix.advance(count);
        if self.prefix.is_empty() {
            self.prefix = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

/// Forwards the writing half to a field.
macro_rules! write_through {
    ($name:ty, $field:ident $(, $generic:ident)?) => {
        impl$(<$generic: AsyncWrite + Unpin>)? AsyncWrite for $name {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.$field).poll_write(cx, bytes)
            }
            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                slices: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.$field).poll_write_vectored(cx, slices)
            }
            fn is_write_vectored(&self) -> bool {
                self.$field.is_write_vectored()
            }
            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.$field).poll_flush(cx)
            }
            fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.$field).poll_shutdown(cx)
            }
        }
    };
}

write_through!(Rewound<T>, io, T);

/// A visitor's socket. Its writing half is shared with whoever must show the
/// socket to the API.
///
/// Reading goes through tokio's own half, because that knows that a read which did
/// not fill its buffer has emptied the socket: one system call less for each request.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) read: OwnedReadHalf,
    pub(crate) write: Arc<OwnedWriteHalf>,
}

impl AsyncRead for Visitor {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Visitor {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write_when_ready(cx, |socket| socket.try_write(bytes))
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write_when_ready(cx, |socket| socket.try_write_vectored(slices))
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket: &TcpStream = (*self.write).as_ref();
        Poll::Ready(rustix::net::shutdown(socket, rustix::net::Shutdown::Write).map_err(Into::into))
    }
}

impl Visitor {
    /// Ready when something has come that was not read: `Ok(true)` more bytes,
    /// `Ok(false)` the end. Asks the kernel only when it has said so.
    pub(crate) fn poll_came(&self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let socket: &TcpStream = self.read.as_ref();
        let mut byte = [0];
        let count = ready!(socket.poll_peek(cx, &mut ReadBuf::new(&mut byte)))?;
        Poll::Ready(Ok(count > 0))
    }

    fn write_when_ready(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let socket: &TcpStream = (*self.write).as_ref();
        loop {
            ready!(socket.poll_write_ready(cx))?;
            match write(socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }
}

/// A connection to a container or to the API.
///
/// Once the other side has stopped reading, writes vanish instead of failing: an
/// early answer (a 413, say) is then still read, where hyper would give up at
/// the failed write. Reading tells soon enough when there is none.
#[derive(Debug)]
pub(crate) struct Inner {
    io: Socket,
    deaf: bool,
}

#[derive(Debug)]
enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl From<UnixStream> for Inner {
    fn from(socket: UnixStream) -> Self {
        let io = Socket::Unix(socket);
        Self { io, deaf: false }
    }
}

impl From<TcpStream> for Inner {
    fn from(socket: TcpStream) -> Self {
        let io = Socket::Tcp(socket);
        Self { io, deaf: false }
    }
}

impl AsyncRead for Inner {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Socket::Unix(io) => Pin::new(io).poll_read(cx, buffer),
            Socket::Tcp(io) => Pin::new(io).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Inner {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.deaf {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = match &mut self.io {
            Socket::Unix(io) => Pin::new(io).poll_write(cx, bytes),
            Socket::Tcp(io) => Pin::new(io).poll_write(cx, bytes),
        };
        self.or_deaf(written, bytes.len())
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        if self.deaf {
            return Poll::Ready(Ok(length));
        }
        let written = match &mut self.io {
            Socket::Unix(io) => Pin::new(io).poll_write_vectored(cx, slices),
            Socket::Tcp(io) => Pin::new(io).poll_write_vectored(cx, slices),
        };
        self.or_deaf(written, length)
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Socket::Unix(io) => Pin::new(io).poll_shutdown(cx),
            Socket::Tcp(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}

impl Inner {
    /// Whether nothing has happened on it: no end, no bytes. Costs a system call
    /// only when something has.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut byte = [0];
        let read = match &self.io {
            Socket::Unix(io) => io.try_read(&mut byte),
            Socket::Tcp(io) => io.try_read(&mut byte),
        };
        read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether the other side has stopped reading.
    pub(crate) const fn is_deaf(&self) -> bool {
        self.deaf
    }

    fn or_deaf(&mut self, written: Poll<io::Result<usize>>, length: usize) -> Poll<io::Result<usize>> {
        use io::ErrorKind::{BrokenPipe, ConnectionReset};
        match written {
            Poll::Ready(Err(error)) if matches!(error.kind(), BrokenPipe | ConnectionReset) => {
                self.deaf = true;
                Poll::Ready(Ok(length))
            }
            other => other,
        }
    }
}
