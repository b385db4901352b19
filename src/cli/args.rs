//! The command line: one definition for parsing, help, completions and the manual.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use greenroom_reports::schema::Mode;
use greenroom_reports::units::{DataSize, Micros};

use super::agent::AgentCommand;
use super::call::CallArgs;
use super::devices::DevicesArgs;
use super::diagnose::DiagnoseArgs;
use super::exit::CliError;
use super::respond::RespondArgs;
#[cfg(feature = "web")]
use super::serve::ServeArgs;
use super::settings::{Layer, TokenSource};
use super::simulate::{self, SimulateArgs};
use super::values::{self, TrafficItem, Ways};

/// Will this call work, and if not, whose fault is it?
#[derive(Debug, Parser)]
#[command(name = "greenroom", version, about, after_help = ROOT_EXAMPLES, max_term_width = 100)]
#[command(propagate_version = true, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    #[command(flatten)]
    pub(crate) global: Global,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Say more on standard error (-vv: still more)
    #[arg(short, long, action = clap::ArgAction::Count, global = true, help_heading = "Output")]
    pub(crate) verbose: u8,

    /// Say nothing but the result, and errors
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Output")]
    pub(crate) quiet: bool,

    /// Read settings from this file [default: ~/.config/greenroom/config.toml, where it exists]
    #[arg(long, value_name = "FILE", global = true, value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check whether a call will work, and say why not
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Find out what is wrong, and put it in one file for whoever helps you
    #[command(after_help = DIAGNOSE_EXAMPLES)]
    Diagnose(DiagnoseArgs),
    /// Measure the network with traffic of your choice
    #[command(after_help = MEASURE_EXAMPLES)]
    Measure(MeasureArgs),
    /// Be the endpoint that others check against
    #[command(after_help = RESPOND_EXAMPLES)]
    Respond(RespondArgs),
    /// Keep reports and show them to whom you let in
    #[cfg(feature = "web")]
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Box<ServeArgs>),
    /// Check on schedule, as one of many computers that report to a server
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Be a whole fleet that does not exist, to see what a server bears and what it finds
    #[command(after_help = simulate::EXAMPLES)]
    Simulate(SimulateArgs),
    /// Test microphone, speaker, camera and this computer
    #[command(after_help = DEVICES_EXAMPLES)]
    Devices(DevicesArgs),
    /// Show, validate, compare or merge reports
    #[command(subcommand, after_help = REPORT_EXAMPLES)]
    Report(ReportCommand),
    /// Show what past checks on this computer found
    #[command(after_help = HISTORY_EXAMPLES)]
    History(HistoryArgs),
    /// Print completions for a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual page, of the whole or of one command
    #[command(after_help = MAN_EXAMPLES)]
    Man {
        /// Which command
        command: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) call: CallArgs,

    /// Of several endpoints, find the best one first and check against it alone
    #[arg(long)]
    pub(crate) pick_best: bool,

    /// 6 s, up to 20 s if the answer hangs; 10 MB at most (the default)
    #[arg(long, conflicts_with = "deep")]
    pub(crate) quick: bool,

    /// 15 to 30 seconds and up to 100 MB, for surer figures
    #[arg(long)]
    pub(crate) deep: bool,

    #[command(flatten)]
    pub(crate) output: OutputArgs,

    /// Do not remember this result
    #[arg(long)]
    pub(crate) no_history: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MeasureArgs {
    /// What to measure: HOST, HOST:PORT or greenroom://HOST[:PORT][#sha256=FINGERPRINT] for a Greenroom endpoint,
    /// stun:HOST[:PORT] for a STUN server, stamp:HOST[:PORT] for a router's STAMP reflector, or icmp:HOST, dns:NAME, tls:HOST,
    /// https://HOST/PATH, tcp:HOST:PORT, ntp:HOST, wss://HOST/PATH, quic:HOST, whip:https://HOST/PATH, turn:HOST, turns:HOST,
    /// path:HOST for the hops on the way, mtu:HOST for the largest packet, dscp:HOST and ecn:HOST for
    /// marks on packets, nat:HOST for the NAT, or service:NAME for what a service for calls needs
    #[arg(value_name = "TARGET", value_hint = ValueHint::Hostname)]
    pub(crate) targets: Vec<String>,

    /// Traffic to send beside audio, all at once: 360p, 720p, 1080p, screen, video@RATE, screen@RATE
    #[arg(
        long,
        value_name = "TRAFFIC",
        value_delimiter = ',',
        default_value = "audio",
        value_parser = values::traffic_item
    )]
    pub(crate) traffic: Vec<TrafficItem>,

    /// Which way video and screen go; audio always goes there and back
    #[arg(long, value_name = "WAY", default_value = "both")]
    pub(crate) direction: Ways,

    /// How long: 1s to 10m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = values::duration)]
    pub(crate) duration: Micros,

    /// From question to question, for a target that is no Greenroom endpoint: as often as its kind allows or less often
    /// [default: 20ms for STAMP, TURN and marks, 50ms for STUN, NATs, echo requests, hops and sizes, 250ms for DNS and TCP, 500ms for services, 2s for NTP, else 1s]
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub(crate) interval: Option<Micros>,

    /// File with the token of a WHIP server (- for standard input); or set GREENROOM_WHIP_TOKEN. It is only sent to a server that
    /// proved who it is
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Network")]
    pub(crate) whip_token_file: Option<PathBuf>,

    /// File with the user name (first line) and the password (second line) for a TURN server; or set
    /// GREENROOM_TURN_USERNAME and GREENROOM_TURN_PASSWORD. The password itself is never sent
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Network")]
    pub(crate) turn_user_file: Option<PathBuf>,

    /// Folder with your own entries for service:NAME, which come before those of the program
    /// [default: ~/.config/greenroom/services, where it exists]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) catalog: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) network: NetworkArgs,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct NetworkArgs {
    /// Send from this network interface, or from this local address
    #[arg(long, value_name = "NAME|ADDRESS", help_heading = "Network")]
    pub(crate) interface: Option<String>,

    /// Most data to send and receive: 500kB, 20MB [default: 100MB; of a quick check 10MB]
    #[arg(long, value_name = "SIZE", value_parser = values::size, help_heading = "Network")]
    pub(crate) max_bytes: Option<DataSize>,

    /// File with the endpoint's token (- for standard input). It is only sent to an endpoint that proved who it is
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Network")]
    pub(crate) token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Write the report as JSON to this file (- for standard output, in place of the text)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Output")]
    pub(crate) json: Option<PathBuf>,

    /// Write the report as one self-contained web page with plots
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Output")]
    pub(crate) html: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReportCommand {
    /// Show a report as text, or as a web page
    Show {
        /// Report to show, or file of a support run (- for standard input)
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Check that reports are what they say: their form, and their figures against their own samples
    Validate {
        /// Reports to check
        #[arg(required = true, value_hint = ValueHint::FilePath)]
        files: Vec<PathBuf>,
    },
    /// Say what changed from the first report to the second
    Compare {
        /// The earlier report
        #[arg(value_hint = ValueHint::FilePath)]
        before: PathBuf,
        /// The later report
        #[arg(value_hint = ValueHint::FilePath)]
        after: PathBuf,
        /// Print it as JSON, with paths and codes
        #[arg(long)]
        json: bool,
    },
    /// Merge reports on one endpoint into one set of figures
    Merge {
        /// Reports to merge
        #[arg(required = true, num_args = 2.., value_hint = ValueHint::FilePath)]
        files: Vec<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Show at most this many, newest first
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
    pub(crate) limit: usize,

    /// Print one JSON object per line
    #[arg(long, conflicts_with = "clear")]
    pub(crate) json: bool,

    /// Forget all past results
    #[arg(long)]
    pub(crate) clear: bool,
}

impl NetworkArgs {
    /// What the command line says of the settings, apart from what is measured.
    pub(crate) fn layer(&self) -> Result<Layer, CliError> {
        Ok(Layer {
            interface: self.interface.clone(),
            token: self.token_file.clone().map(TokenSource::File),
            max_bytes: self.max_bytes,
            ..Layer::default()
        })
    }
}

impl CheckArgs {
    /// What the command line says of the settings.
    pub(crate) fn layer(&self) -> Result<Layer, CliError> {
        let mode = match (self.quick, self.deep) {
            (true, _) => Some(Mode::Quick),
            (_, true) => Some(Mode::Deep),
            _ => None,
        };
        Ok(Layer { history_keep: self.no_history.then_some(0), ..self.call.layer(mode)? })
    }
}

const ROOT_EXAMPLES: &str = "\
Examples:
  greenroom check probe.example            will a call work from here?
  greenroom check probe.example --deep     the same, more thoroughly
  greenroom diagnose probe.example         all that support needs, in one file
  greenroom respond                        be the endpoint that others check against
  greenroom serve                          keep reports and show them
  greenroom report show call.json          show a saved report

Exit codes:
  0 ready, 1 degraded, 2 blocked, 3 inconclusive;
  64 wrong usage, 66 no input, 69 endpoint unavailable, 70 internal error, 73 cannot write, 130 interrupted

Secrets are read from files, standard input or the environment, never from the command line.";

const CHECK_EXAMPLES: &str = "\
Examples:
  greenroom check probe.example                          audio and 720p video, 6 seconds
  greenroom check probe.example --for audio,1080p,screen
  greenroom check probe.example --deep --html check.html
  greenroom check probe.example --json - | jq .verdict   for scripts
  greenroom check                                        this computer alone, no network
  greenroom check probe.example --devices mic,speaker    both must be there and work
  greenroom check probe.example --devices none           the network alone
  greenroom check probe.example tls:app.example          and what else the call needs
  greenroom check eu.example us.example --pick-best      which of them to use
  greenroom check probe.example --upload https://greenroom.example --key-file key --label ticket=T-1
  greenroom check probe.example --ticket https://greenroom.example/c/…  for whoever sent you that link

Settings also come from the environment:
  GREENROOM_ENDPOINT, GREENROOM_FOR, GREENROOM_MODE, GREENROOM_PROFILE, GREENROOM_INTERFACE,
  GREENROOM_MAX_BYTES, GREENROOM_TOKEN, GREENROOM_TOKEN_FILE, GREENROOM_HISTORY, GREENROOM_CONFIG,
  GREENROOM_DEVICES, GREENROOM_PORTAL_URL, GREENROOM_UPLOAD, GREENROOM_UPLOAD_KEY, GREENROOM_UPLOAD_KEY_FILE,
  GREENROOM_WHIP_TOKEN, GREENROOM_TURN_USERNAME, GREENROOM_TURN_PASSWORD
and from the config file:
  endpoint = \"greenroom://probe.example\"
  for = [\"audio\", \"720p\"]
  [history]
  keep = 500                                             0 keeps none
  [labels]
  site = \"Lyon\"

Exit codes:
  0 ready, 1 degraded, 2 blocked or permission denied, 3 inconclusive,
  69 the endpoint turned us away, 73 the report could not be written or sent,
  130 interrupted (with what was measured)";

const DIAGNOSE_EXAMPLES: &str = "\
Examples:
  greenroom diagnose probe.example                          network and devices, in under a minute
  greenroom diagnose probe.example tls:app.example          and what else the call needs
  greenroom diagnose --ticket https://greenroom.example/c/…  and send it to who asked for it
  greenroom diagnose --redact check.json                    hide what is personal in a report
  greenroom report show greenroom-K7Q4-M2XP.greenroom.zip   what is in it

The file is an archive with the report for people and programs and when each packet was sent and
received. Whole addresses and the names of devices are hidden unless you say --full. Sound, pictures,
passwords and tokens are never in it. A link for --ticket lets a few reports in and shows nothing.

Exit codes: as of greenroom check";

const MEASURE_EXAMPLES: &str = "\
Examples:
  greenroom measure probe.example                                  audio for 10 seconds
  greenroom measure probe.example --traffic 1080p --duration 30s
  greenroom measure probe.example --traffic video@8Mbit --direction up --json -
  greenroom measure stun:stun.example                              round trips, loss, your address
  greenroom measure stamp:router.example                           a router's STAMP reflector
  greenroom measure icmp:router.example                            any host, by echo requests
  greenroom measure dns:probe.example                              this computer's name servers
  greenroom measure dns://192.0.2.53/probe.example?type=A,HTTPS    one name server
  greenroom measure https://probe.example/health                   each step of a request, and the certificate
  greenroom measure tls:probe.example#issuer=NAME                  the certificate, and who should vouch for it
  greenroom measure tcp:probe.example:5061                         also wss://HOST/PATH, quic:HOST
  greenroom measure ntp:time.example                               how far this computer's clock is off
  greenroom measure whip:https://sfu.example/whip/room --whip-token-file FILE
                                                                   sound and picture to a WebRTC server
  greenroom measure turn:relay.example --turn-user-file FILE       audio through a relay, three ways
  greenroom measure dscp:probe.example                             marks on packets; also ecn:HOST
  greenroom measure nat:stun.example                               what a NAT on the way does

But for whip: and turn: these carry no media: there and back are measured together. Who did not agree to it is sent 20 packets a second at most.

Nothing is judged.

Exit codes:
  0 the target was measured, 69 it could not be, 130 interrupted (with what was measured)";

const RESPOND_EXAMPLES: &str = "\
Examples:
  greenroom respond                                          for this computer alone
  greenroom respond --listen 0.0.0.0                         for everybody who reaches it
  greenroom respond --listen 0.0.0.0 --token-file tokens     for those who have a token
  greenroom respond --listen 0.0.0.0 --external-ip 192.0.2.1 behind NAT
  greenroom respond --listen 0.0.0.0 --cert chain.pem --key key.pem

Ports: UDP 7443 and 7444, TCP 7443 (--listen ADDR:PORT moves them together).
SIGTERM and Ctrl-C let open sessions end for up to 5 seconds; a second one stops at once.

Exit codes:
  0 stopped, 64 wrong usage, 66 a file is missing or not what it should be,
  69 an address or port cannot be had";

#[cfg(feature = "web")]
const SERVE_EXAMPLES: &str = "\
Examples:
  greenroom serve                                            for this computer alone
  greenroom serve --listen 192.0.2.1:443 --tls-cert chain.pem --tls-key key.pem
  greenroom serve --base-url https://greenroom.example       behind a proxy on this computer
  greenroom check probe.example --upload https://greenroom.example --key-file key

As long as there is no admin, each start makes a link for the first one.
SIGTERM and Ctrl-C let open requests end for up to 5 seconds; a second one stops at once.

Exit codes:
  0 stopped, 64 wrong usage, 66 a file is missing or not what it should be,
  69 the address or the data is in use, 73 the data cannot be written";

const DEVICES_EXAMPLES: &str = "\
Examples:
  greenroom devices                          all of them, and this computer: please say something
  greenroom devices list                     what there is, without touching it
  greenroom devices mic                      are you heard? And if not, which of the silences is it?
  greenroom devices loop                     does the microphone hear the speaker?
  greenroom devices camera --preview         what the camera sees, here in the terminal
  greenroom devices host                     can this computer keep up?
  greenroom devices watch                    tells when something is plugged in or out

Nothing that was heard or seen leaves this computer unless you ask for it.

Exit codes:
  0 ready, 1 degraded, 2 blocked or permission denied, 3 inconclusive,
  64 wrong usage, 69 no sound server to list from, 73 cannot write, 130 interrupted";

const REPORT_EXAMPLES: &str = "\
Examples:
  greenroom report show check.json --html check.html
  greenroom report validate *.json
  greenroom report compare monday.json tuesday.json
  greenroom report merge *.json";

const HISTORY_EXAMPLES: &str = "\
Examples:
  greenroom history              the last 20 checks
  greenroom history -n 100 --json
  greenroom history --clear

Past results stay on this computer.
Keep none with `keep = 0` under [history] in the config file, or GREENROOM_HISTORY=off.";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  greenroom completions bash > ~/.local/share/bash-completion/completions/greenroom
  greenroom completions zsh > \"${fpath[1]}/_greenroom\"
  greenroom completions fish > ~/.config/fish/completions/greenroom.fish";

const MAN_EXAMPLES: &str = "\
Examples:
  greenroom man | man -l -
  greenroom man check > greenroom-check.1";
