//! `shipway logs`: what a service says.

use shipway_client::LogOptions;

use crate::args::Logs;
use crate::ask::Asker;
use crate::exit::Failure;
use crate::output::Output;

pub(super) async fn logs(args: Logs, asker: &Asker, output: &Output) -> Result<(), Failure> {
    let options = LogOptions { follow: args.follow, tail: args.tail, since: args.since, ..LogOptions::default() };
    let mut lines = asker.client.logs(&args.service, &options).await?;
    while let Some(line) = lines.next().await? {
        if output.json {
            output.object(&line);
        } else if args.timestamps {
            output.line(&output.foreign(&format!("{} {}", line.at, line.text)));
        } else {
            output.line(&output.foreign(&line.text));
        }
    }
    Ok(())
}
