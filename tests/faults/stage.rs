//! All that an experiment needs, but the desks: keys, a model, a server, a balancer, and
//! what is between that and the desks.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::desks::Call;
use crate::fault::{Fault, LATENCY};
use crate::lossy::Lossy;
use crate::outside::Outside;
use crate::proxy::{IDLE, Kind, Proxy, Site, own_address};
use crate::server::Server;
use crate::wire::Wire;

/// How long each answer of the model takes.
const MODEL_LATENCY: Duration = Duration::from_millis(1_500);
/// For how long a call may take, and a model that fails is left alone.
const AS_SHIPPED: Duration = Duration::from_secs(30);

pub(crate) struct Stage {
    pub(crate) outside: Outside,
    pub(crate) server: Server,
    pub(crate) balancer: Proxy,
    /// Before the balancer, if there is more than the network.
    wire: Option<Wire>,
    pub(crate) lossy: Option<Lossy>,
    /// How long the model is out of order, if that is the fault.
    pub(crate) outage: Duration,
    desks_connect_to: SocketAddr,
}

impl Stage {
    /// Sets everything up for this fault; `None` if this machine has not what it needs.
    pub(crate) async fn set(fault: Fault, outage: Duration, folder: &Path) -> Option<Self> {
        let lossy = match fault {
            Fault::Loss => Some(Lossy::new()?),
            _ => None,
        };
        let outside = Outside::start(MODEL_LATENCY).await;
        // Longer than a call may take, and than the model is left alone.
        let patience = (outage * 3 / 4).min(AS_SHIPPED);
        let server = Server::start(&outside, patience, folder).await;
        let mut listen = own_address();
        if let Some(lossy) = &lossy {
            listen.set_ip(lossy.near);
        }
        let site = Site {
            listen,
            server: server.grpc,
            http: server.http,
            admin: server.admin,
            idle: IDLE,
        };
        let balancer = Kind::Nginx.start(&site).await?;
        // Beside the balancer, whose certificate names the address.
        let beside = SocketAddr::new(listen.ip(), listen.port() + 1);
        let wire = match fault {
            Fault::Latency => Some(Wire::between(beside, listen, LATENCY).await),
            Fault::Cut | Fault::Silence => {
                Some(Wire::between(beside, listen, Duration::ZERO).await)
            }
            _ => None,
        };
        Some(Self {
            outside,
            server,
            balancer,
            desks_connect_to: if wire.is_some() { beside } else { listen },
            wire,
            lossy,
            outage,
        })
    }

    /// What breaks between the desks and the balancer.
    pub(crate) fn wire(&self) -> &Wire {
        self.wire.as_ref().expect("it was set up for this fault")
    }

    /// How desks reach it.
    pub(crate) fn call(&self) -> Call {
        let inside = self.lossy.iter().flat_map(Lossy::inside);
        Call {
            inside: inside.collect::<Vec<OsString>>(),
            address: format!("https://{}", self.desks_connect_to),
            certificate: self.balancer.certificate(),
        }
    }
}
