//! `make demo`: the whole path from pictures to look-alikes, in a PostgreSQL of its own.
//!
//! The demo starts a cluster in a private directory ([`cluster`]), takes a gallery of pictures from a
//! folder or from the system's emoji font ([`gallery`], [`emoji`]), inserts it so that the extension's
//! trigger embeds every row ([`load`]), and then asks for look-alikes in several ways, each time showing
//! the SQL, its result, and a contact sheet that PostgreSQL drew ([`showcase`]). With `--evaluate` it
//! instead measures how often the nearest pictures carry the right label ([`evaluate`]).
#![forbid(unsafe_code)]

mod args;
mod cluster;
mod emoji;
mod errors;
mod evaluate;
mod gallery;
mod histogram;
mod load;
mod progress;
mod showcase;
mod table;

use std::process::ExitCode;

use anyhow::Result;

use args::Args;
use cluster::Cluster;
use gallery::Gallery;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if cluster::interrupted() => {
            eprintln!("demo: interrupted; the cluster is stopped and removed");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("demo: {}", errors::describe(&error));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let Some(args) = Args::from_command_line()? else { return Ok(()) };
    let gallery = match &args.photos {
        Some(folder) => Gallery::from_folder(folder)?,
        None => Gallery::from_emoji()?,
    };

    let cluster = Cluster::start(&args.bin)?;
    if args.evaluate {
        evaluate::run(&cluster, &gallery)?;
    } else {
        load::run(&cluster, &gallery)?;
        showcase::run(&cluster, &gallery, &args.out)?;
    }
    if args.keep {
        println!("\nThe cluster stays up. {}", cluster.keep());
    }
    Ok(())
}
