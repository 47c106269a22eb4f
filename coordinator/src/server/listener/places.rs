//! Places for connections: how many are open, in all and from each address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Descriptors that are kept free after there was none left.
const KEPT_FREE: usize = 8;

/// The places of one listener.
#[derive(Debug)]
pub(in crate::server) struct Places {
    /// What was asked for.
    most: usize,
    /// What there is: fewer after the process ran out of descriptors.
    now: AtomicUsize,
    most_per_peer: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_peer: HashMap<IpAddr, usize>,
}

/// One connection's place, free again when it is dropped.
#[derive(Debug)]
pub(in crate::server) struct Place {
    places: Arc<Places>,
    /// The address that is counted; none for loopback.
    peer: Option<IpAddr>,
}

impl Places {
    /// So many places, and so many for one address; 0 is no limit for one address.
    pub(in crate::server) fn new(most: usize, most_per_peer: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            now: AtomicUsize::new(most),
            most_per_peer,
            taken: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection from `peer`; none when all are taken.
    pub(in crate::server) fn take(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let counted = self.most_per_peer > 0 && !peer.to_canonical().is_loopback();
        let peer = counted.then(|| peer.to_canonical());
        let mut taken = self.lock();
        if taken.all >= self.now.load(Ordering::Relaxed) {
            return None;
        }
        if let Some(peer) = peer {
            let of_peer = taken.by_peer.entry(peer).or_default();
            if *of_peer >= self.most_per_peer {
                return None;
            }
            *of_peer += 1;
        }
        taken.all += 1;
        Some(Place {
            places: self.clone(),
            peer,
        })
    }

    /// The process has no descriptor left: as connections end, so many stay free for everything else.
    pub(in crate::server) fn shrink(&self) {
        let less = self.lock().all.saturating_sub(KEPT_FREE).max(1);
        self.now.store(less.min(self.most), Ordering::Relaxed);
    }

    /// There are descriptors again.
    pub(in crate::server) fn recover(&self) {
        self.now.store(self.most, Ordering::Relaxed);
    }

    /// Places that are taken.
    #[cfg(test)]
    pub(in crate::server) fn taken(&self) -> usize {
        self.lock().all
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.all -= 1;
        if let Some(peer) = self.peer
            && let Some(of_peer) = taken.by_peer.get_mut(&peer)
        {
            *of_peer -= 1;
            if *of_peer == 0 {
                taken.by_peer.remove(&peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn places_are_bounded_in_all_and_for_each_address_and_come_back() {
        let places = Places::new(5, 2);
        let first = places.take(peer(1)).unwrap();
        let second = places.take(peer(1)).unwrap();
        assert!(places.take(peer(1)).is_none(), "two from one address");
        drop(first);
        let third = places.take(peer(1)).unwrap();
        let others: Vec<_> = (2..5)
            .map(|last| places.take(peer(last)).unwrap())
            .collect();
        assert!(places.take(peer(9)).is_none(), "five in all");
        drop((second, third, others));
        assert_eq!(places.taken(), 0);
        assert!(
            places.lock().by_peer.is_empty(),
            "addresses that left are forgotten"
        );
    }

    #[test]
    fn after_running_out_of_descriptors_some_stay_free_for_a_while() {
        let places = Places::new(100, 0);
        let mut held: Vec<_> = (0..20).map(|_| places.take(peer(1)).unwrap()).collect();
        places.shrink();
        held.truncate(12);
        assert!(places.take(peer(1)).is_none(), "eight stay free");
        held.pop();
        held.push(places.take(peer(1)).unwrap());
        places.recover();
        assert!(places.take(peer(1)).is_some());
    }

    #[test]
    fn loopback_is_bounded_in_all_only() {
        let places = Places::new(4, 1);
        let local = [
            IpAddr::from([127, 0, 0, 1]),
            IpAddr::from([127, 0, 0, 1]),
            "::1".parse().unwrap(),
            "::ffff:127.0.0.1".parse().unwrap(),
        ];
        let held: Vec<_> = local
            .iter()
            .map(|peer| places.take(*peer).unwrap())
            .collect();
        assert!(places.take(local[0]).is_none());
        drop(held);
    }
}
