//! How messages are written and read: tonic's codec for prost, with a smaller buffer.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstDecoder, ProstEncoder};

/// What a stream writes into, as long as it lives. tonic's 8 KiB would be half of what an
/// idle session takes; here most of what such a session says finds room, and an answer to
/// a frame makes its own.
const BUFFER: usize = 512;
/// So much is handed on at once, as tonic does.
const AT_ONCE: usize = 32 << 10;

/// The codec of the generated services and clients.
pub(super) struct SmallProst<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for SmallProst<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for SmallProst<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(BufferSettings::new(BUFFER, AT_ONCE))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::default()
    }
}
