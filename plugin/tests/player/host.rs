//! A host that writes down what the player sends, and checks what needs no clip: order, and one off
//! for each on.

use std::sync::Arc;

use famam_plugin::clip::Clip;
use famam_plugin::player::{Event, EventKind, Player, Playhead, Settings, Transport};

use super::oracle::Heard;

pub struct Host {
    pub player: Player,
    pub clips: rtrb::Producer<Arc<Clip>>,
    pub _old: rtrb::Consumer<Arc<Clip>>,
    pub now: i64,
    pub heard: Heard,
    pub sounding: std::collections::HashSet<(u8, u8)>,
}

impl Host {
    pub fn new() -> Self {
        let (clips, incoming) = rtrb::RingBuffer::new(16);
        let (outgoing, _old) = rtrb::RingBuffer::new(64);
        let player = Player::new(incoming, outgoing, Arc::new(Playhead::default()));
        Self {
            player,
            clips,
            _old,
            now: 0,
            heard: Heard::new(),
            sounding: Default::default(),
        }
    }

    pub fn block(&mut self, transport: &Transport, frames: u32, settings: Settings) {
        let (now, heard, sounding) = (self.now, &mut self.heard, &mut self.sounding);
        let mut last = (0, 0);
        self.player
            .process(transport, frames, settings, false, &mut |event| {
                let Event {
                    sample,
                    channel,
                    kind,
                } = event;
                let at = heard.entry(now + i64::from(sample)).or_default();
                let rank = match kind {
                    EventKind::Off(pitch) => {
                        assert!(
                            sounding.remove(&(channel, pitch)),
                            "an off without an on: {event:?}"
                        );
                        at.0.push((channel, pitch));
                        0
                    }
                    EventKind::Program(program) => {
                        at.2.push((channel, program));
                        1
                    }
                    EventKind::On { pitch, velocity } => {
                        assert!(
                            sounding.insert((channel, pitch)),
                            "an on without an off: {event:?}"
                        );
                        at.1.push((channel, pitch, velocity));
                        2
                    }
                };
                assert!(
                    sample < frames && (sample, rank) >= last,
                    "out of order: {event:?}"
                );
                last = (sample, rank);
                true
            });
        self.now += i64::from(frames);
    }
}
