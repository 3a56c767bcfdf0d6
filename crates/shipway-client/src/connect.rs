//! One connection to the API.

use std::io;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio_util::either::Either;

use crate::{Address, Error};

/// Longest a connection may take to come about.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// A TCP connection or a unix one.
pub(crate) type Stream = Either<TcpStream, UnixStream>;

pub(crate) async fn open(address: &Address) -> Result<Stream, Error> {
    let unreachable = |source| Error::Unreachable { address: address.to_string(), source };
    let opened = tokio::time::timeout(CONNECT_TIME, dial(address)).await;
    match opened {
        Ok(opened) => opened.map_err(unreachable),
        Err(_) => Err(unreachable(io::ErrorKind::TimedOut.into())),
    }
}

async fn dial(address: &Address) -> io::Result<Stream> {
    match address {
        Address::Unix(path) => Ok(Either::Right(UnixStream::connect(path).await?)),
        Address::Http { host, port } => {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let stream = TcpStream::connect((bare, *port)).await?;
            // Keys of an exec must not wait for each other.
            stream.set_nodelay(true)?;
            Ok(Either::Left(stream))
        }
    }
}
