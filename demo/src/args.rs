//! The command line.

use std::path::PathBuf;

use anyhow::{Context, Result};

const HELP: &str = "\
Usage: demo --bin DIR [--photos DIR] [--keep] [--out DIR]
       demo --bin DIR --evaluate --photos DIR

  --bin DIR     the bin directory of a PostgreSQL in which the extension is installed
  --photos DIR  a folder of pictures, sub-folder names as labels (default: the system's emoji)
  --keep        leave the cluster up and say how to connect
  --out DIR     where the contact sheets go (default: demo/out)
  --evaluate    measure precision at 1 and 5: queries from DIR/validation/LABEL/, gallery DIR/train/LABEL/
";

/// What the user asked for.
pub struct Args {
    /// The server's programs: `initdb`, `pg_ctl`, `psql`.
    pub bin: PathBuf,
    /// The user's own pictures, if any.
    pub photos: Option<PathBuf>,
    /// The folder for contact sheets.
    pub out: PathBuf,
    /// Leave the cluster up.
    pub keep: bool,
    /// Measure instead of showing.
    pub evaluate: bool,
}

impl Args {
    /// Reads the command line; `None` if it asked for help, which has been printed.
    ///
    /// # Errors
    /// An option that is unknown or lacks its value, and a command line without `--bin`, or with
    /// `--evaluate` but no `--photos`.
    pub fn from_command_line() -> Result<Option<Self>> {
        Self::parse(lexopt::Parser::from_env())
    }

    fn parse(mut parser: lexopt::Parser) -> Result<Option<Self>> {
        use lexopt::Arg::Long;
        let mut bin = None;
        let mut photos = None;
        let mut out = PathBuf::from("demo/out");
        let (mut keep, mut evaluate) = (false, false);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("bin") => bin = Some(PathBuf::from(parser.value()?)),
                Long("photos") => photos = Some(PathBuf::from(parser.value()?)).filter(|path| path != ""),
                Long("out") => out = PathBuf::from(parser.value()?),
                Long("keep") => keep = true,
                Long("evaluate") => evaluate = true,
                Long("help") => {
                    print!("{HELP}");
                    return Ok(None);
                }
                unexpected => return Err(unexpected.unexpected().into()),
            }
        }
        let bin = bin.context("--bin is missing (demo --help tells more; make demo passes it)")?;
        if evaluate {
            photos.as_ref().context("--evaluate needs --photos: a folder with train/LABEL/ and validation/LABEL/")?;
        }
        Ok(Some(Self { bin, photos, out, keep, evaluate }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Args>> {
        Args::parse(lexopt::Parser::from_args(line.split_whitespace()))
    }

    #[test]
    fn reads_every_option() {
        let args = parse("--bin /pg/bin --photos=/p --keep --out /o --evaluate").unwrap().unwrap();
        assert_eq!((args.bin, args.photos, args.out), ("/pg/bin".into(), Some("/p".into()), "/o".into()));
        assert!(args.keep && args.evaluate);
    }

    #[test]
    fn refuses_what_it_cannot_do() {
        assert!(parse("").is_err());
        assert!(parse("--bin").is_err());
        assert!(parse("--bin /b --evaluate").is_err());
        assert!(parse("--bin /b --photoes /p").is_err());
        assert!(parse("--bin /b stray").is_err());
    }

    #[test]
    fn help_needs_nothing_else() {
        assert!(parse("--help").unwrap().is_none());
    }
}
