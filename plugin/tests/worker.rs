//! The worker, with the built-in model and no host: clips come, newer requests win, songs come back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use famam_plugin::clip::Clip;
use famam_plugin::player::{EventKind, Player, Settings, Transport};
use famam_plugin::snapshot::Activity;
use famam_plugin::state::FIELD;
use famam_plugin::worker::Instance;
use famam_shared::score::Metre;
use nih_plug::params::{IntParam, InternalParamMut, Param, Params};

fn set(parameter: &IntParam, value: i32) {
    // SAFETY: nothing else uses these parameters.
    unsafe { parameter._internal_set_plain_value(value) };
}

/// What happens at once, on a machine that is busy.
const SOON: Duration = Duration::from_secs(5);

fn until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !done() {
        assert!(Instant::now() < deadline, "{what}: nothing came");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn settled(instance: &Instance) -> Arc<Clip> {
    until("the worker", || {
        let activity = instance.view.snapshot().activity;
        assert!(!matches!(activity, Activity::Failed(_)), "{activity:?}");
        instance.slot.is_settled() && matches!(activity, Activity::Ready { .. })
    });
    instance.view.snapshot().clip.expect("a clip")
}

/// An instance with this seed and this many bars, and its player.
fn instance(seed: i32, bars: i32) -> (Instance, Player) {
    let (instance, player) = Instance::new();
    set(&instance.params.controls.seed, seed);
    set(&instance.params.controls.bars, bars);
    (instance, player)
}

fn ons(player: &mut Player) -> usize {
    let mut ons = 0;
    for block in 0..400 {
        let transport = Transport {
            playing: true,
            position: Some(f64::from(block) * 4800.0 / 24_000.0),
            sample_rate: 48_000.0,
            ..Transport::default()
        };
        player.process(&transport, 4800, Settings::default(), false, &mut |event| {
            ons += usize::from(matches!(event.kind, EventKind::On { .. }));
            true
        });
    }
    ons
}

#[test]
fn a_fresh_instance_makes_a_clip_by_itself() {
    let (instance, mut player) = instance(3, 2);
    assert_eq!(instance.view.snapshot().activity, Activity::Waiting);
    instance.start();
    let clip = settled(&instance);
    assert_eq!((clip.bars, clip.done, clip.origin.seed), (2, 2, 3));
    let snapshot = instance.view.snapshot();
    assert!(!snapshot.model.is_empty() && !snapshot.engine.is_empty());
    assert_eq!(snapshot.genres[0], "any");
    assert!(clip.notes.is_empty() || ons(&mut player) > 0);
}

#[test]
fn one_seed_is_one_clip_and_another_is_another() {
    let instances = [instance(7, 2), instance(7, 2), instance(8, 2)];
    for (instance, _) in &instances {
        instance.start();
    }
    let clips = instances.each_ref().map(|(instance, _)| settled(instance));
    assert_eq!(clips[0].notes, clips[1].notes);
    assert_ne!(clips[0].notes, clips[2].notes);
}

#[test]
fn a_newer_request_wins_and_cancel_ends_one() {
    let (instance, _player) = instance(1, 64);
    instance.start();
    until("a first bar", || {
        instance
            .view
            .snapshot()
            .clip
            .is_some_and(|clip| clip.done > 0)
    });
    set(&instance.params.controls.bars, 1);
    let clip = settled(&instance);
    assert_eq!((clip.bars, clip.done), (1, 1));

    set(&instance.params.controls.bars, 64);
    until("a bar of it", || {
        matches!(
            instance.view.snapshot().activity,
            Activity::Generating {
                bars: 64,
                done: 1..,
                ..
            }
        )
    });
    let asked = Instant::now();
    instance.commands.cancel();
    let clip = settled(&instance);
    let took = asked.elapsed();
    assert!(took < SOON, "it took {took:?}");
    assert!(clip.bars == 64 && clip.done < 64, "all bars were made");
}

#[test]
fn what_was_cancelled_is_not_made_after_all() {
    // Before the first bar: the window must not promise music that does not come.
    let (fresh, _player) = instance(1, 64);
    fresh.start();
    fresh.commands.cancel();
    let ready = Activity::Ready {
        tokens_per_second: None,
    };
    until("rest", || fresh.view.snapshot().activity == ready);
    // While the parameters rest, which would have led to a clip.
    let (old, _old_player) = instance(2, 1);
    old.start();
    let clip = settled(&old);
    set(&old.params.controls.bars, 3);
    std::thread::sleep(Duration::from_millis(40));
    old.commands.cancel();
    std::thread::sleep(Duration::from_millis(40));
    for (instance, expected) in [(&fresh, None), (&old, Some(&clip))] {
        instance.slot.ask();
        std::thread::sleep(Duration::from_millis(300));
        let snapshot = instance.view.snapshot();
        assert_eq!(snapshot.clip.as_ref(), expected);
        assert_eq!(snapshot.activity, ready);
    }
}

#[test]
fn an_instance_goes_in_the_middle_of_a_bar() {
    for wait in [0, 5, 50, 200] {
        let (instance, player) = instance(1, 64);
        instance.start();
        until("a first bar", || instance.view.snapshot().clip.is_some());
        std::thread::sleep(Duration::from_millis(wait));
        let slot = instance.slot.clone();
        slot.ask();
        let gone = Instant::now();
        drop((instance, player));
        while !slot.is_settled() {
            assert!(gone.elapsed() < SOON, "an offline render would wait");
        }
        assert!(gone.elapsed() < SOON, "it took {:?}", gone.elapsed());
    }
}

#[test]
fn a_clip_that_found_no_room_is_still_to_come() {
    let (instance, mut player) = instance(1, 1);
    let seeds = 1..=200;
    for seed in seeds.clone() {
        let text = FIRST.replace("\"seed\":42", &format!("\"seed\":{seed}"));
        let fields = BTreeMap::from([(FIELD.to_owned(), text)]);
        instance.params.deserialize_fields(&fields);
    }
    let newest = |clip: &Clip| clip.origin.seed == *seeds.end();
    until("the last clip", || {
        let snapshot = instance.view.snapshot();
        snapshot.clip.is_some_and(|clip| newest(&clip))
            && matches!(snapshot.activity, Activity::Ready { .. })
    });
    std::thread::sleep(Duration::from_millis(100));
    assert!(!instance.slot.is_settled(), "it lies outside the queue");
    let deadline = Instant::now() + SOON;
    while !instance.slot.is_settled() {
        assert!(Instant::now() < deadline, "it never came");
        player.receive();
    }
}

#[test]
fn a_broken_model_leaves_the_one_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.onnx");
    std::fs::write(&path, b"no model at all").unwrap();
    let (instance, _player) = instance(4, 1);
    instance.start();
    let clip = settled(&instance);
    let model = instance.view.snapshot().model;
    instance.commands.load_bundle(path);
    until("the refusal", || {
        let activity = instance.view.snapshot().activity;
        matches!(activity, Activity::Failed(why) if why.contains("broken.onnx"))
    });
    let snapshot = instance.view.snapshot();
    assert_eq!((snapshot.model, snapshot.clip), (model, Some(clip)));
    let fields = instance.params.serialize_fields();
    assert!(fields[FIELD].contains("\"bundle\":null"));
    set(&instance.params.controls.seed, 5);
    let clip = || instance.view.snapshot().clip;
    until("another clip", || {
        clip().is_some_and(|clip| clip.origin.seed == 5)
    });
}

#[test]
fn instances_take_turns_bar_by_bar() {
    let (long, _long_player) = instance(1, 64);
    long.start();
    until("a first bar", || {
        long.view.snapshot().clip.is_some_and(|clip| clip.done > 0)
    });
    let (short, _short_player) = instance(1, 1);
    short.start();
    settled(&short);
    let done = long.view.snapshot().clip.map(|clip| clip.done);
    assert!(done < Some(64), "the long clip was finished first");
}

#[test]
fn a_song_comes_back_without_its_model() {
    let (old, _old_player) = instance(5, 2);
    old.start();
    let clip = settled(&old);
    let mut fields = old.params.serialize_fields();
    let text = fields.get_mut(FIELD).expect("our field");
    *text = text
        .replace("\"bundle\":null", "\"bundle\":\"/no/such/model.onnx\"")
        .replacen("\"genre\":\"any\"", "\"genre\":\"polka\"", 1);
    assert!(!old.params.controls.genre.to_string().contains("polka"));

    let (new, _new_player) = instance(9, 3);
    set(&new.params.controls.genre, 3);
    new.start();
    new.params.deserialize_fields(&fields);
    until("the notice", || {
        new.view
            .snapshot()
            .notice
            .is_some_and(|notice| notice.contains("gone"))
    });
    let restored = settled(&new);
    assert_eq!(
        (&restored.notes, &restored.parts),
        (&clip.notes, &clip.parts)
    );
    assert_eq!(restored.origin, clip.origin);
    // What was restored is what is saved again.
    assert_eq!(new.params.serialize_fields(), fields);
    let genre = &new.params.controls.genre;
    assert_eq!(genre.to_string(), "polka");
    let shown = genre.unmodulated_normalized_value();
    assert_eq!(genre.string_to_normalized_value("Polka"), Some(shown));
}

/// A state of version 1, as the first release wrote it: it opens for ever.
const FIRST: &str = r#"{"version":1,"bundle":null,"model":"m","hash":"h","genre":"any","clip":{
    "bars":2,"metre":[3,4],"micros_per_quarter":600000,
    "origin":{"model":"m","hash":"h","genre":"any","seed":42},"instruments":[128,33],
    "notes":[[0,240,0,36,100],[960,1920,1,40,80],[5759,1,0,38,1]]}}"#;

#[test]
fn the_first_version_opens() {
    let (instance, _player) = instance(1, 1);
    let fields = BTreeMap::from([(FIELD.to_owned(), FIRST.to_owned())]);
    instance.params.deserialize_fields(&fields);
    instance.start();
    let clip = settled(&instance);
    let metre = Metre {
        numerator: 3,
        ..Metre::COMMON
    };
    assert_eq!(
        (clip.bars, clip.metre, clip.micros_per_quarter),
        (2, metre, 600_000)
    );
    let parts = clip
        .parts
        .iter()
        .map(|part| (part.instrument.index(), part.channel));
    assert_eq!(parts.collect::<Vec<_>>(), [(128, 9), (33, 0)]);
    let notes = clip
        .notes
        .iter()
        .map(|n| (n.start.0, n.duration.0, n.part, n.pitch, n.velocity));
    let expected = [
        (0, 240, 0, 36, 100),
        (960, 1920, 1, 40, 80),
        (5759, 1, 0, 38, 1),
    ];
    assert_eq!(notes.collect::<Vec<_>>(), expected);
    assert_eq!(clip.origin.seed, 42);
}

#[test]
fn a_newer_state_is_refused_with_a_sentence_and_garbage_too() {
    for (text, words) in [
        (r#"{"version":2,"whatever":[]}"#, "newer Famam"),
        (r#"{"version":1,"clip":{"bars":0}}"#, "damaged"),
        ("{", "damaged"),
        (
            r#"{"version":1,"clip":{"bars":1,"metre":[4,4],"micros_per_quarter":1,"origin":{"model":"",
            "hash":"","genre":"","seed":1},"instruments":[0],"notes":[[0,1,1,60,100]]}}"#,
            "its notes",
        ),
    ] {
        let (instance, _player) = instance(1, 1);
        instance
            .params
            .deserialize_fields(&BTreeMap::from([(FIELD.to_owned(), text.to_owned())]));
        until(words, || {
            instance
                .view
                .snapshot()
                .notice
                .is_some_and(|notice| notice.contains(words))
        });
    }
}

#[test]
fn what_a_state_puts_out_of_range_does_not_reach_sampling() {
    let (instance, _player) = instance(1, 1);
    let controls = &instance.params.controls;
    for value in [1e30, -1e30, f32::INFINITY, f32::NAN] {
        // SAFETY: nothing else uses these parameters.
        unsafe {
            controls.temperature._internal_set_plain_value(value);
            controls.top_p._internal_set_plain_value(value);
        }
        set(&controls.top_k, if value > 0.0 { i32::MAX } else { -5 });
        let sampling = instance.params.sampling();
        assert!((0.0..=2.0).contains(&sampling.temperature), "{sampling:?}");
        assert!((0.0..=1.0).contains(&sampling.top_p), "{sampling:?}");
        assert!(sampling.top_k <= 200, "{sampling:?}");
    }
}

#[test]
fn values_read_back_as_they_are_shown() {
    let (instance, _player) = instance(1, 1);
    let controls = &instance.params.controls;
    for parameter in [
        &controls.genre,
        &controls.top_k,
        &controls.seed,
        &controls.part,
    ] {
        for value in 0..=16 {
            let normalized = parameter.preview_normalized(value);
            let text = parameter.normalized_value_to_string(normalized, true);
            assert_eq!(
                parameter.string_to_normalized_value(&text),
                Some(normalized),
                "{text}"
            );
        }
    }
}
