//! What becomes of a model's outputs: files by name, and the names of the best classes.

use std::path::PathBuf;

use avocet::data::labels::{self, Ranking};
use avocet::data::{npy, npz};
use avocet::ports::{Side, find};
use avocet::{Model, Port, Tensor};
use clap::Args;

use super::super::CommandError;
use super::inputs::{NamedFile, named_file};

/// Classes that are printed.
const BEST: usize = 5;

#[derive(Args, Debug)]
pub(super) struct OutputArguments {
    /// Write an output to an .npy file (repeatable); NAME= may be left out if there is one output.
    #[arg(long = "output", value_name = "[NAME=]FILE.npy", value_parser = named_file)]
    output_files: Vec<NamedFile>,
    /// Write all outputs to an .npz file.
    #[arg(long = "outputs", value_name = "FILE.npz")]
    output_archive: Option<PathBuf>,
    /// Print the five best classes by name: `imagenet`, or a file with a name a line.
    #[arg(long, value_name = "imagenet|FILE")]
    labels: Option<PathBuf>,
}

/// What is to be done with the outputs, checked against the model.
pub(super) struct Plan<'a> {
    arguments: &'a OutputArguments,
    ports: Vec<Port>,
    /// Number of the output for each file.
    files: Vec<usize>,
    /// Number of the output with the scores, and the classes' names.
    labels: Option<(usize, Vec<String>)>,
}

impl OutputArguments {
    /// Whether the outputs are of any use.
    pub(super) fn are_asked_for(&self) -> bool {
        !self.output_files.is_empty() || self.output_archive.is_some() || self.labels.is_some()
    }

    /// What is to be done for this model; told before anything is compiled when it can't be.
    pub(super) fn plan(&self, model: &Model) -> Result<Plan<'_>, CommandError> {
        let ports = model.outputs();
        let number = |file: &NamedFile| find(Side::Output, &ports, file.name.as_deref());
        let files = self.output_files.iter().map(number).collect::<Result<_, _>>()?;
        let labels = match &self.labels {
            None => None,
            Some(path) => {
                let names = match path.to_str() {
                    Some("imagenet") => labels::imagenet(),
                    _ => labels::read(path)
                        .map_err(|source| CommandError::Read { path: path.clone(), source })?,
                };
                let scores = ports.iter().position(|port| labels::has_scores(&port.ty, names.len()));
                Some((scores.ok_or_else(|| CommandError::no_scores(names.len(), &ports))?, names))
            }
        };
        Ok(Plan { arguments: self, ports, files, labels })
    }
}

impl Plan<'_> {
    /// Does it.
    pub(super) fn carry_out(&self, outputs: &[Tensor]) -> Result<(), CommandError> {
        for (file, &number) in self.arguments.output_files.iter().zip(&self.files) {
            npy::write(&file.path, &outputs[number])?;
        }
        if let Some(path) = &self.arguments.output_archive {
            let named: Vec<(&str, &Tensor)> =
                self.ports.iter().map(|port| port.name.as_str()).zip(outputs).collect();
            npz::write(path, &named)?;
        }
        let Some((number, names)) = &self.labels else {
            return Ok(());
        };
        if let Some((rows, are_probabilities)) = labels::rank(&outputs[*number], names.len(), BEST) {
            let output = self.ports[*number].name.escape_debug();
            let how = if are_probabilities { "as they are" } else { "logits, by softmax" };
            say!("scores        of output '{output}', {how}");
            for (row, ranking) in rows.iter().enumerate() {
                print_ranking(ranking, names, (rows.len() > 1).then_some(row));
            }
        }
        Ok(())
    }
}

fn print_ranking(ranking: &Ranking, names: &[String], row: Option<usize>) {
    let row = row.map_or(String::new(), |row| format!("picture {row}, "));
    for (place, (class, probability)) in ranking.iter().enumerate() {
        let name = names.get(*class).map_or("", String::as_str);
        say!("{:<14}{row}{:6.2} %  {class:>4} {name}", format!("top {}", place + 1), 100.0 * probability);
    }
}
