//! `forepost department list|map|unmap`: which department of the dictionary one is that a HIS names
//! and the dictionary does not have. A person says it, and it can be taken back.

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};

use super::{ByArgument, ConfigArgument, DONE, fail, open_beside, open_to_read, wait, wall};
use crate::clock;
use crate::ledger::{DepartmentMapping, DepartmentRefusal, UnlistedDepartment};
use crate::model::Department;

/// What `department` can do.
#[derive(Subcommand)]
pub enum DepartmentVerb {
    /// What waits to be mapped, and what was mapped.
    List(ListArguments),
    /// Say which department of the dictionary it is; what was said before is replaced.
    Map(MapArguments),
    /// Take back what was said.
    Unmap(UnmapArguments),
}

/// What `department list` takes.
#[derive(Args)]
pub struct ListArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// A department as the HIS names it.
#[derive(Args)]
#[command(group = ArgGroup::new("named").required(true).args(["code", "name"]))]
pub struct NamedArgument {
    /// The hospital's code; not needed where only one is served.
    #[arg(long)]
    hospital: Option<String>,
    /// The code by which the HIS names it.
    #[arg(long)]
    code: Option<String>,
    /// The name by which the HIS names it, where it gives no code.
    #[arg(long)]
    name: Option<String>,
}

impl NamedArgument {
    fn department(&self) -> Department {
        let text = |given: &Option<String>| given.clone().unwrap_or_default();
        Department { code: text(&self.code), name: text(&self.name) }
    }
}

/// What `department map` takes.
#[derive(Args)]
pub struct MapArguments {
    #[command(flatten)]
    config: ConfigArgument,
    #[command(flatten)]
    named: NamedArgument,
    /// The dictionary's code of what it is.
    #[arg(long)]
    to: String,
    #[command(flatten)]
    by: ByArgument,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What `department unmap` takes.
#[derive(Args)]
pub struct UnmapArguments {
    #[command(flatten)]
    config: ConfigArgument,
    #[command(flatten)]
    named: NamedArgument,
    #[command(flatten)]
    by: ByArgument,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub fn run(verb: &DepartmentVerb) -> u8 {
    let done = match verb {
        DepartmentVerb::List(arguments) => list(arguments),
        DepartmentVerb::Map(arguments) => map(arguments),
        DepartmentVerb::Unmap(arguments) => unmap(arguments),
    };
    done.unwrap_or_else(|code| code)
}

fn list(arguments: &ListArguments) -> Result<u8, u8> {
    let config = arguments.config.read()?;
    let ledger = open_to_read(&config)?;
    let unlisted = ledger.unlisted_departments().map_err(fail)?;
    let mapped = ledger.department_mappings().map_err(fail)?;
    if arguments.json {
        let unlisted: Value = unlisted.iter().map(unlisted_json).collect();
        let mapped: Value = mapped.iter().map(mapping_json).collect();
        println!("{}", json!({ "unlisted": unlisted, "mapped": mapped }));
        return Ok(DONE);
    }
    for UnlistedDepartment { hospital, department: Department { code, name }, named_at } in
        &unlisted
    {
        let at = wall(*named_at, &config);
        println!("{hospital:<16} {code:<12} {name}  not in the dictionary, last named {at}");
    }
    for one in &mapped {
        let Department { code, name } = &one.named;
        println!(
            "{:<16} {code:<12} {name}  is {}  by {}",
            one.hospital, one.department, one.confirmed_by
        );
    }
    println!("{} unlisted, {} mapped", unlisted.len(), mapped.len());
    Ok(DONE)
}

fn map(arguments: &MapArguments) -> Result<u8, u8> {
    let config = arguments.config.read()?;
    let mapping = DepartmentMapping {
        hospital: super::hospital(&config, arguments.named.hospital.as_deref())?,
        named: arguments.named.department(),
        department: arguments.to.clone(),
        confirmed_by: arguments.by.name()?,
        confirmed_at: clock::now(),
    };
    let ledger = open_beside(&config)?;
    let kept = wait(ledger.map_department(mapping))?.map_err(fail)?;
    ledger.close();
    told(kept, arguments.json, "mapped")
}

fn unmap(arguments: &UnmapArguments) -> Result<u8, u8> {
    let config = arguments.config.read()?;
    let hospital = super::hospital(&config, arguments.named.hospital.as_deref())?;
    let (named, by) = (arguments.named.department(), arguments.by.name()?);
    let ledger = open_beside(&config)?;
    let taken = wait(ledger.unmap_department(hospital, named, by, clock::now()))?.map_err(fail)?;
    ledger.close();
    told(taken, arguments.json, "unmapped")
}

fn told(done: Result<(), DepartmentRefusal>, as_json: bool, what: &str) -> Result<u8, u8> {
    done.map_err(fail)?;
    match as_json {
        true => println!("{}", json!({ what: 1 })),
        false => println!("{what}"),
    }
    Ok(DONE)
}

fn unlisted_json(one: &UnlistedDepartment) -> Value {
    json!({
        "hospital": one.hospital,
        "code": one.department.code,
        "name": one.department.name,
        "named_at_ms": one.named_at.0,
    })
}

fn mapping_json(one: &DepartmentMapping) -> Value {
    json!({
        "hospital": one.hospital,
        "code": one.named.code,
        "name": one.named.name,
        "department": one.department,
        "confirmed_by": one.confirmed_by,
        "confirmed_at_ms": one.confirmed_at.0,
    })
}
