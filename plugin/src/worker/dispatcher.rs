//! The dispatcher's loop: commands, reports and slots reach the members that they are for.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, select};

use super::inference::{Job, Report};
use super::member::Member;
use super::{Command, InstanceId};

/// How often the slots are looked at.
const POLL: Duration = Duration::from_millis(4);

/// Runs until [`Command::Stop`].
pub(super) fn run(
    commands: Receiver<(InstanceId, Command)>,
    reports: Receiver<Report>,
    jobs: Sender<Job>,
) {
    let mut members: HashMap<InstanceId, Member> = HashMap::new();
    loop {
        select! {
            recv(commands) -> command => match command {
                Ok((id, Command::Join(mut member))) => {
                    member.join(id);
                    members.insert(id, *member);
                }
                Ok((id, Command::Leave)) => {
                    members.remove(&id);
                    let _ = jobs.send(Job::Leave(id));
                }
                Ok((_, Command::Stop)) | Err(_) => return,
                Ok((id, command)) => {
                    if let Some(member) = members.get_mut(&id) {
                        member.obey(command, &jobs);
                    }
                }
            },
            recv(reports) -> report => {
                let Ok(report) = report else { return };
                if let Some(member) = members.get_mut(&report.instance) {
                    member.hear(report.news, &jobs);
                }
            },
            default(POLL) => {}
        }
        let now = Instant::now();
        members
            .values_mut()
            .for_each(|member| member.look(now, &commands, &jobs));
    }
}
