//! `hearth config show|path`: the settings in force, and where each value came from.

use crate::context::App;
use crate::exit::{Code, Failure};
use clap::{Args, Subcommand};
use std::io::Write;

/// Show the settings in force and where each came from
#[derive(Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Print every setting, its value and its origin
    Show {
        /// Print a JSON array of {key, value, origin}
        #[arg(long)]
        json: bool,
    },
    /// Print the path of the configuration file, which need not exist
    Path,
}

impl Config {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        match self.action {
            Action::Path => match &app.settings.file {
                Some(path) => writeln!(out, "{}", path.display())?,
                None => {
                    let text = "no place for the configuration file: neither HOME nor \
                                XDG_CONFIG_HOME is set to an absolute path; name one with \
                                `--config`";
                    return Err(Failure::new(Code::Usage, text));
                }
            },
            Action::Show { json: true } => {
                let rows: Vec<_> = app
                    .settings
                    .rows()
                    .map(|row| {
                        serde_json::json!({
                            "key": row.key.name,
                            "value": row.value,
                            "origin": row.origin.to_string(),
                        })
                    })
                    .collect();
                writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?;
            }
            Action::Show { json: false } => {
                for row in app.settings.rows() {
                    writeln!(out, "# {}\n# from {}", row.key.help, row.origin)?;
                    if row.key.secret && !row.value.is_empty() {
                        // A comment: what is printed is a valid file, and must not set it anew.
                        writeln!(out, "# {} is {}\n", row.key.name, row.value)?;
                        continue;
                    }
                    let value = toml::Value::String(row.value.clone());
                    let value = if row.key.quoted { value.to_string() } else { row.value.clone() };
                    writeln!(out, "{} = {value}\n", row.key.name)?;
                }
            }
        }
        Ok(())
    }
}
