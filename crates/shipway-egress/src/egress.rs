//! All of it together: containers attached, detached, and what is there made what
//! should be there.

mod hosts;
pub(crate) mod pool;

pub(crate) use hosts::Ways;

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::addresses::{Addresses, End, Plan, Slot};
use crate::dns::{Forwarder, Members, NameCounters, Upstreams};
use crate::error::{Doing as _, EgressError};
use crate::finding::Finding;
use crate::forwarding::Forwarding;
use crate::links::{FAR_NAME, Links, Pair};
use crate::policy::{ALLOW_MAX, Block, Policy};
use crate::table::{Counters, Sight, Table};
use crate::watch::Watch;
use crate::{conntrack, netns};

/// How an engine root's network is set up. For the life of an [`Egress`].
#[derive(Debug, Clone)]
pub struct Config {
    /// The engine root's instance id: 8 to 32 letters and digits.
    pub instance: String,
    /// IPv4 prefixes to take addresses from, /8 to /20; the first that nothing else on
    /// this host uses. Empty for [`Config::default_pools`].
    pub pools: Vec<Block>,
    /// Whom the forwarder asks.
    pub upstreams: Upstreams,
    /// Whether rules may be added to chains of others that drop our packets
    /// (`network.accept_rule`).
    pub accept_rule: bool,
    /// Where settings of the host are remembered before they are changed; in the
    /// engine root, so that an uninstall finds it.
    pub memory: PathBuf,
}

/// Egress `internet` of one engine root. Methods take a few milliseconds and block.
#[derive(Debug)]
pub struct Egress {
    plan: Plan,
    accept_rule: bool,
    has_v6: bool,
    upstreams: Upstreams,
    forwarding: Forwarding,
    members: Arc<Members>,
    kernel: Mutex<Kernel>,
}

/// The sockets everything goes through, one at a time.
#[derive(Debug)]
struct Kernel {
    table: Table,
    links: Links,
    /// The largest packet the ways out take, once they are known and open.
    mtu: Option<u32>,
    /// Whether the living of a predecessor have been taken over.
    adopted: bool,
    /// Whether chains of others have been looked at.
    tended: bool,
    /// Who is attached, and in which namespace: a slot that was used again meanwhile is
    /// not to be mistaken for its former owner.
    attached: BTreeMap<Slot, netns::Identity>,
}

/// A container that was attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attached {
    /// Its own addresses, on its `eth0`.
    pub addresses: Addresses,
    /// What its `/etc/resolv.conf` names, and nothing else: `nameserver <v4>`.
    pub resolver: Addresses,
    /// Whether it has IPv6.
    pub has_v6: bool,
}

/// A container that should be attached, as the engine knows it.
#[derive(Debug, Clone, Copy)]
pub struct Living<'a> {
    /// Its slot.
    pub slot: Slot,
    /// Its network namespace, or a process in it (a pidfd).
    pub namespace: BorrowedFd<'a>,
    /// What it may do.
    pub policy: &'a Policy,
}

/// What [`Egress::reconcile`] found to do.
#[derive(Debug, Default)]
pub struct Reconciled {
    /// Attached anew, because something of theirs was missing: connections were cut.
    pub attached: Vec<Slot>,
    /// Rules written anew; connections live on.
    pub mended: Vec<Slot>,
    /// Of containers that are no more.
    pub swept: Vec<Slot>,
    /// Could not be put in order, and why.
    pub failed: Vec<(Slot, EgressError)>,
    /// What the operator should know.
    pub findings: Vec<Finding>,
}

/// What was counted for one container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Seen {
    /// By the packet filter.
    pub packets: Counters,
    /// By the DNS forwarder.
    pub names: NameCounters,
}

impl Egress {
    /// Sets the table up and binds the forwarder's sockets, in the calling thread's
    /// network namespace. Call [`Egress::reconcile`] with the living containers next:
    /// those whose rules are not there are cut off until then.
    ///
    /// # Errors
    ///
    /// [`EgressError::Invalid`] for a configuration that can never work,
    /// [`EgressError::NoPool`] and [`EgressError::Owned`] for addresses that are taken,
    /// [`EgressError::Host`] where the kernel will not (see [`doctor`](crate::doctor)).
    pub fn open(config: Config) -> Result<(Self, Forwarder), EgressError> {
        check(&config)?;
        let mut links = Links::open().doing("open a netlink socket for links")?;
        let has_v6 = Forwarding::has_v6();
        let (plan, ears) = pool::choose(&mut links, &config, has_v6)?;
        let mut table = Table::open(plan.clone()).doing("open a netlink socket for rules")?;
        table.ensure().doing("set up the table of rules")?;
        let members = Arc::new(Members::new());
        let forwarder = Forwarder::new(ears, Arc::clone(&members), config.upstreams.clone());
        let egress = Self {
            plan,
            accept_rule: config.accept_rule,
            has_v6,
            upstreams: config.upstreams,
            forwarding: Forwarding::new(&config.memory),
            members,
            kernel: Mutex::new(Kernel {
                table,
                links,
                mtu: None,
                adopted: false,
                tended: false,
                attached: BTreeMap::new(),
            }),
        };
        Ok((egress, forwarder))
    }

    /// Connects a container whose namespace is new: `eth0`, routes, rules, names. What
    /// was there of the slot before is replaced.
    ///
    /// # Errors
    ///
    /// [`EgressError::Gone`] when the container ended meanwhile, else as
    /// [`Egress::open`]; nothing is left behind.
    pub fn attach(&self, slot: Slot, namespace: BorrowedFd<'_>, policy: &Policy) -> Result<Attached, EgressError> {
        self.check(slot, policy)?;
        let mut kernel = self.kernel();
        let result = self.attach_locked(&mut kernel, slot, namespace, policy);
        if let Err(error) = &result
            && let Err(second) = self.detach_locked(&mut kernel, slot)
        {
            tracing::warn!(slot, %error, %second, "a half-made connection could not be taken back; the next sweep will");
        }
        result
    }

    fn attach_locked(
        &self,
        kernel: &mut Kernel,
        slot: Slot,
        namespace: BorrowedFd<'_>,
        policy: &Policy,
    ) -> Result<Attached, EgressError> {
        let (far, mut far_links) = netns::within(namespace, || Ok((netns::current()?, Links::open()?)))
            .doing("enter the container's network namespace")?;
        let own = netns::current().and_then(netns::identity).doing("look at our own network namespace")?;
        let identity = netns::identity(&far).doing("look at the container's network namespace")?;
        if identity == own {
            return Err(EgressError::Invalid("the container has no network namespace of its own".to_owned()));
        }
        let link = self.plan.link(slot);
        kernel.links.delete(&link).doing("delete an old link")?;
        self.forget(kernel, slot);
        self.add_rules(kernel, slot, policy)?;
        let mtu = self.open_ways(kernel, policy)?;
        self.tend_once(kernel)?;
        kernel.links.make_pair(&self.plan, slot, mtu, far.as_fd()).doing("make a pair of links")?;
        self.dress(kernel, &mut far_links, slot)?;
        self.members.remove(self.plan.container(slot));
        self.members.put(self.plan.container(slot), policy);
        kernel.attached.insert(slot, identity);
        Ok(self.attached(slot))
    }

    /// Rules, and first the table, should somebody have flushed it.
    fn add_rules(&self, kernel: &mut Kernel, slot: Slot, policy: &Policy) -> Result<(), EgressError> {
        if kernel.table.add(slot, policy).is_err() {
            kernel.table.ensure().doing("set up the table of rules")?;
            kernel.table.add(slot, policy).doing("add the container's rules")?;
        }
        Ok(())
    }

    /// Puts both ends of a pair in order; ours last, because it lets packets through.
    fn dress(&self, kernel: &mut Kernel, far: &mut Links, slot: Slot) -> Result<(), EgressError> {
        let name = self.plan.link(slot);
        let missing = || std::io::Error::from(rustix::io::Errno::NODEV);
        let near_link = kernel.links.find(&name).doing("look at our link")?;
        let near_link = near_link.ok_or_else(missing).doing("find our link")?;
        let far_link = far.find(FAR_NAME).doing("look at the container's link")?;
        let far_link = far_link.ok_or_else(missing).doing("find the container's link")?;
        self.forwarding.prepare(&name, self.has_v6).doing("prepare a link for forwarding")?;
        let pair = Pair { router: self.plan.router(), container: self.plan.container(slot) };
        // Ours goes up first, or the far end's routes would have no carrier.
        kernel.links.dress(near_link.index, slot, End::Host, pair, self.has_v6).doing("set up our link")?;
        // Written last, so what is written says that all before it was done; the far end
        // is in nobody's hands but the container's, which may not touch it.
        let alias = pool::alias(&self.plan);
        if near_link.alias != alias {
            far.dress(far_link.index, slot, End::Container, pair, self.has_v6).doing("set up the container's link")?;
            kernel.links.set_alias(near_link.index, &alias).doing("mark a link as ours")?;
        }
        kernel.links.wait_for(&name).doing("wait for our link to work")
    }

    /// Disconnects a container, gone or not, and forgets what it was refused.
    ///
    /// # Errors
    ///
    /// [`EgressError::Host`]; what remains is swept by the next [`Egress::reconcile`].
    pub fn detach(&self, slot: Slot) -> Result<(), EgressError> {
        self.detach_locked(&mut self.kernel(), slot)
    }

    fn detach_locked(&self, kernel: &mut Kernel, slot: Slot) -> Result<(), EgressError> {
        kernel.attached.remove(&slot);
        self.members.remove(self.plan.container(slot));
        kernel.links.delete(&self.plan.link(slot)).doing("delete a link")?;
        kernel.table.remove(slot).doing("remove the container's rules")?;
        self.forget(kernel, slot);
        Ok(())
    }

    /// Connections of a former owner of the address must not count as this one's.
    fn forget(&self, kernel: &mut Kernel, slot: Slot) {
        if let Err(error) = conntrack::forget(&mut kernel.table.socket, self.plan.container(slot)) {
            tracing::debug!(slot, %error, "tracked connections of an address stay until they time out");
        }
    }

    /// Makes what is there what should be there: rules and links of the living put in
    /// order without cutting their connections, those of the dead swept, forwarding and
    /// other people's chains looked at again. To be called first after [`Egress::open`],
    /// and then every half minute and whenever [`Watch::changed`] says so: hosts change
    /// networks, and firewalls are reloaded.
    ///
    /// The first call adopts whoever is in `living`, which must be complete. Later ones
    /// may overlap with [`Egress::attach`] and [`Egress::detach`]: what was attached
    /// since is not swept, what was detached since is not attached again.
    ///
    /// # Errors
    ///
    /// [`EgressError::Host`] where nothing could be done for anybody; a single
    /// container's trouble is in [`Reconciled::failed`].
    pub fn reconcile(&self, living: &[Living<'_>]) -> Result<Reconciled, EgressError> {
        let mut done = Reconciled::default();
        let (seen, first) = {
            let mut kernel = self.kernel();
            kernel.table.ensure().doing("set up the table of rules")?;
            self.sweep(&mut kernel, living, &mut done)?;
            let first = !std::mem::replace(&mut kernel.adopted, true);
            (kernel.table.look().doing("read our rules")?, first)
        };
        for one in living {
            // Held for one at a time: a start should not wait for all of them.
            let mut kernel = self.kernel();
            match self.settle(&mut kernel, one, &seen, first) {
                Ok(Settled::Attached) => done.attached.push(one.slot),
                Ok(Settled::Mended) => done.mended.push(one.slot),
                Ok(Settled::Fine) => {}
                Err(error) => done.failed.push((one.slot, error)),
            }
        }
        done.findings = self.look_around(&mut self.kernel(), living.iter().map(|one| one.policy))?;
        Ok(done)
    }

    fn settle(
        &self,
        kernel: &mut Kernel,
        one: &Living<'_>,
        seen: &Sight,
        adopts: bool,
    ) -> Result<Settled, EgressError> {
        self.check(one.slot, one.policy)?;
        let (namespace, mut far) = netns::within(one.namespace, || Ok((netns::current()?, Links::open()?)))
            .doing("enter the container's network namespace")?;
        let identity = netns::identity(&namespace).doing("look at the container's network namespace")?;
        if !adopts && kernel.attached.get(&one.slot) != Some(&identity) {
            return Ok(Settled::Fine);
        }
        let near_link = kernel.links.find(&self.plan.link(one.slot)).doing("look at our link")?;
        let far_link = far.find(FAR_NAME).doing("look at the container's link")?;
        let paired = near_link
            .zip(far_link)
            .is_some_and(|(near, far)| near.far == Some(far.index) && far.far == Some(near.index));
        if !paired {
            self.attach_locked(kernel, one.slot, one.namespace, one.policy)?;
            return Ok(Settled::Attached);
        }
        let changed = kernel.table.mend(one.slot, one.policy, seen).doing("mend the container's rules")?;
        self.dress(kernel, &mut far, one.slot)?;
        self.members.put(self.plan.container(one.slot), one.policy);
        kernel.attached.insert(one.slot, identity);
        Ok(if changed { Settled::Mended } else { Settled::Fine })
    }

    /// Takes away what carries our id and belongs to nobody alive.
    fn sweep(&self, kernel: &mut Kernel, living: &[Living<'_>], done: &mut Reconciled) -> Result<(), EgressError> {
        let mut dead = kernel.table.slots().doing("read our chains")?;
        dead.extend(self.linked(kernel)?);
        dead.sort_unstable();
        dead.dedup();
        dead.retain(|slot| !living.iter().any(|one| one.slot == *slot) && !kernel.attached.contains_key(slot));
        for slot in dead {
            self.detach_locked(kernel, slot)?;
            done.swept.push(slot);
        }
        Ok(())
    }

    /// The slots that have a link of ours.
    fn linked(&self, kernel: &mut Kernel) -> Result<Vec<Slot>, EgressError> {
        let links = kernel.links.all().doing("list links")?;
        let ours = links.iter().filter(|link| pool::is_ours(&self.plan.instance, link));
        Ok(ours.filter_map(|link| self.plan.slot_of(&link.name)).collect())
    }

    fn cut(&self, kernel: &mut Kernel) -> Result<(), EgressError> {
        for slot in self.linked(kernel)? {
            self.members.remove(self.plan.container(slot));
            kernel.attached.remove(&slot);
            kernel.links.delete(&self.plan.link(slot)).doing("delete a link")?;
        }
        Ok(())
    }

    /// What was counted for a container; all zero for one that is not attached.
    ///
    /// # Errors
    ///
    /// [`EgressError::Host`].
    pub fn seen(&self, slot: Slot) -> Result<Seen, EgressError> {
        let packets = self.kernel().table.counters(slot).doing("read counters")?;
        Ok(Seen { packets, names: self.members.counters(self.plan.container(slot)) })
    }

    /// The forwarder's addresses: what `/etc/resolv.conf` of every container names.
    #[must_use]
    pub fn resolver(&self) -> Addresses {
        self.plan.router()
    }

    /// Hears of changes that others make to the packet filter, from now on. To be called
    /// on a runtime with I/O.
    ///
    /// # Errors
    ///
    /// [`EgressError::Host`] when no socket can be had.
    pub fn watch(&self) -> Result<Watch, EgressError> {
        let own = self.kernel().table.socket.port().doing("look at our netlink socket")?;
        Watch::open(own).doing("open a netlink socket for news")
    }

    /// Takes everything away, as at an uninstall: links, table, rules in other people's
    /// chains, and the settings of the host as they were before.
    ///
    /// # Errors
    ///
    /// [`EgressError::Host`]; what could be done is done, and calling it again does the rest.
    pub fn teardown(&self) -> Result<(), EgressError> {
        let mut kernel = self.kernel();
        // While a link is left the table stays, or it would be a link without rules.
        self.cut(&mut kernel)?;
        let withdrawn = crate::foreign::withdraw(&mut kernel.table.socket, &self.plan)
            .doing("take our rules out of others' chains");
        let deleted = kernel.table.delete().doing("delete the table of rules");
        let undone = self.forwarding.undo().doing("undo settings of the host");
        withdrawn.and(deleted).and(undone)
    }

    fn attached(&self, slot: Slot) -> Attached {
        Attached { addresses: self.plan.container(slot), resolver: self.plan.router(), has_v6: self.has_v6 }
    }

    fn check(&self, slot: Slot, policy: &Policy) -> Result<(), EgressError> {
        let refuse = |why: String| Err(EgressError::Invalid(why));
        if !self.plan.has_room_for(slot) {
            return refuse(format!("the address pool has no room for slot {slot}; set a shorter prefix"));
        }
        if policy.allow.len() > ALLOW_MAX {
            return refuse(format!("network.allow has {} entries; {ALLOW_MAX} at most", policy.allow.len()));
        }
        if policy.connections == 0 {
            return refuse("a container with no connections needs no internet: give it the network `none`".to_owned());
        }
        Ok(())
    }

    fn kernel(&self) -> MutexGuard<'_, Kernel> {
        self.kernel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Settled {
    Fine,
    Mended,
    Attached,
}

fn check(config: &Config) -> Result<(), EgressError> {
    let instance = &config.instance;
    let fits = (8..=32).contains(&instance.len()) && instance.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !fits {
        return Err(EgressError::Invalid(format!("`{instance}` is no instance id: 8 to 32 letters and digits")));
    }
    let bad =
        config.pools.iter().find(|pool| !pool.first.is_ipv4() || !crate::addresses::POOL_BITS.contains(&pool.bits));
    bad.map_or(Ok(()), |pool| {
        Err(EgressError::Invalid(format!(
            "{}/{} is no address pool: an IPv4 prefix of /8 to /20",
            pool.first, pool.bits
        )))
    })
}
