//! How fast a model is, and what it takes: `measure LIBRARY MODEL_DIR MODEL [PICTURES]`.
//!
//! Runs the model with each number of threads up to those of the machine and several batch sizes, and prints
//! milliseconds per picture (preprocessing and network apart; for the network also processor time, which another load
//! on the machine disturbs less) and the memory of the process.

use std::{env, error::Error, fs, path::Path, time::Instant};

use vs_onnx::{Bundle, Model, Options, Runtime};
use vs_vision::Rgb;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [library, folder, name, rest @ ..] = arguments.as_slice() else {
        return Err("usage: measure LIBRARY MODEL_DIR MODEL [PICTURES]".into());
    };
    let count: u32 = rest.first().map_or(Ok(200), |count| count.parse())?;
    let runtime = Runtime::init(Path::new(library))?;
    println!("ONNX Runtime {}, {name}, {count} pictures of 640 x 480", runtime.version());

    let picture = |seed: u32| {
        Rgb::new(640, 480, (0..640 * 480 * 3).map(|at: u32| (at.wrapping_mul(seed * 2 + 7) >> 8) as u8).collect())
    };
    let pictures = (0..8).map(picture).collect::<Result<Vec<_>, _>>()?;
    println!(
        "{:>8} {:>6} {:>10} {:>12} {:>9} {:>9} {:>9}",
        "threads", "batch", "load ms", "prepare ms", "run ms", "cpu ms", "RSS MB"
    );
    for threads in 1..=std::thread::available_parallelism()?.get() {
        for batch in [1, 2, 4, 8, 16] {
            let start = Instant::now();
            // Threads within a run are what is looked at here, whatever the size of the network.
            let options = Options { threads, batch, small: 0, ..Options::default() };
            let model = Model::load(runtime, Bundle::find(Some(Path::new(folder)), name)?, &options)?;
            let load = start.elapsed();
            let start = Instant::now();
            let prepared = pictures
                .iter()
                .cycle()
                .take(16)
                .map(|picture| model.prepare(picture))
                .collect::<Result<Vec<_>, _>>()?;
            let prepare = start.elapsed() / 16;
            let (start, busy) = (Instant::now(), processor_ms());
            for _ in 0..count / 16 {
                model.embed_prepared(&prepared, &mut || false)?;
            }
            let run = start.elapsed() / (count / 16 * 16);
            let busy = (processor_ms() - busy) / f64::from(count / 16 * 16);
            println!(
                "{threads:>8} {batch:>6} {:>10.1} {:>12.2} {:>9.2} {busy:>9.2} {:>9.1}",
                load.as_secs_f64() * 1e3,
                prepare.as_secs_f64() * 1e3,
                run.as_secs_f64() * 1e3,
                resident()
            );
        }
    }
    Ok(())
}

/// Resident memory of this process in megabytes.
fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1024.0
}

/// Processor time this process has taken, in milliseconds, to 10.
fn processor_ms() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) * 10.0
}
