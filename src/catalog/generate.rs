//! Writes what `compile.rs` has resolved as Rust text.
//!
//! What always holds: the same model gives the same bytes; only `static` items of the
//! structs in `table.rs`. Start reading at [`module`].

use std::collections::BTreeMap;
use std::fmt::{Debug, Write};

use super::compile::{InterfaceModel, Node, SystemModel, place};
use super::schema::{Address, Condition, Dictionary, Envelope};
use super::table::{Mode, Zone};

/// The whole module body.
pub(super) fn module(systems: &[SystemModel]) -> String {
    let mut code = String::from("// Written by the catalogue compiler from interfaces/.\n");
    for system in systems {
        write_system(&mut code, system);
        for interface in &system.interfaces {
            write_interface(&mut code, system, interface);
        }
    }
    let all: Vec<&InterfaceModel> = systems.iter().flat_map(|it| &it.interfaces).collect();
    let names = list(systems.iter().map(|it| format!("&{}", item(&["SYSTEM", &it.name]))));
    let ids = list(all.iter().map(|it| interface_ref(it)));
    let _ = writeln!(
        code,
        "/// The compiled catalogue.\npub static CATALOG: Catalog = Catalog {{ systems: {names}, \
         interfaces: {ids}, routes: {} }};",
        routes(&all)
    );
    code
}

fn write_system(code: &mut String, system: &SystemModel) {
    let file = &system.file;
    let _ = writeln!(
        code,
        "static {}: System = System {{ name: {:?}, title: {:?}, title_en: {:?}, document: {:?} }};",
        item(&["SYSTEM", &system.name]),
        system.name,
        file.title,
        file.title_en,
        file.document
    );
    for dictionary in &file.dictionary {
        write_dictionary(code, &system.name, dictionary);
    }
    for envelope in &file.envelope {
        write_envelope(code, &system.name, envelope);
    }
}

fn write_dictionary(code: &mut String, system: &str, dictionary: &Dictionary) {
    let _ = writeln!(
        code,
        "static {}: Dictionary = Dictionary {{ name: {:?}, title: {:?}, complete: {:?}, \
         entries: {} }};",
        item(&["DICTIONARY", system, &dictionary.name]),
        dictionary.name,
        dictionary.title,
        dictionary.complete,
        list(dictionary.entries.iter().map(|it| format!("{it:?}")))
    );
}

fn write_envelope(code: &mut String, system: &str, envelope: &Envelope) {
    let slots = envelope.slots.iter().map(|slot| {
        format!(
            "Slot {{ key: {:?}, holds: Holds::{:?}, number: {:?}, empty: Empty::{:?} }}",
            slot.key, slot.holds, slot.number, slot.empty
        )
    });
    let replies = envelope.reply.iter().map(|reply| {
        format!(
            "Reply {{ outcome: Outcome::{:?}, code: {}, message: {:?} }}",
            reply.outcome, reply.code, reply.message
        )
    });
    let _ = writeln!(
        code,
        "static {}: Envelope = Envelope {{ name: {:?}, form: Form::{:?}, root: {:?}, slots: {}, \
         accepted: &{:?}, missing: {:?}, invalid: {:?}, replies: {} }};",
        item(&["ENVELOPE", system, &envelope.name]),
        envelope.name,
        envelope.form,
        envelope.root,
        list(slots),
        envelope.accepted,
        envelope.missing,
        envelope.invalid,
        list(replies)
    );
}

fn write_interface(code: &mut String, system: &SystemModel, interface: &InterfaceModel) {
    let source = &interface.source;
    let id = &source.id;
    let envelope = option(source.envelope.as_ref(), |name| {
        format!("&{}", item(&["ENVELOPE", &system.name, name]))
    });
    let _ = writeln!(
        code,
        "static {}: Interface = Interface {{\n    id: {id:?},\n    names: {},\n    \
         system: &{},\n    section: {:?},\n    title: {:?},\n    title_en: {:?},\n    \
         purpose: {:?},\n    provider: {:?},\n    caller: {:?},\n    zone: Zone::{:?},\n    \
         addresses: {},\n    shared_with: {},\n    batch: {},\n    encryption: {},\n    \
         delivery: {},\n    fields: {},\n    rules: {},\n    answers: {},\n    \
         envelope: {envelope},\n    example: {:?},\n    notes: {},\n}};",
        item(&["INTERFACE", id]),
        texts(&source.names),
        item(&["SYSTEM", &system.name]),
        source.section,
        source.title,
        source.title_en,
        source.purpose,
        source.provider,
        source.caller,
        source.zone,
        list(source.address.iter().map(address)),
        texts(&source.shared_with),
        option(source.batch.as_ref(), |keys| texts(keys)),
        option(source.encryption.as_ref(), |it| format!("Encryption::{it:?}")),
        delivery(interface),
        fields(&interface.fields, &system.name),
        rules(interface),
        answers(interface, &system.name),
        interface.example,
        texts(&source.notes)
    );
}

fn delivery(interface: &InterfaceModel) -> String {
    let delivery = &interface.source.delivery;
    format!(
        "Delivery {{ carriage: Carriage::{:?}, deadline_s: {:?}, ambiguous: Ambiguous::{:?}, \
         query: {:?}, identity: {}, money: {:?} }}",
        delivery.carriage,
        delivery.deadline_hours.map(|hours| hours * 3_600),
        delivery.ambiguous,
        delivery.query,
        texts(&delivery.identity),
        delivery.money
    )
}

fn rules(interface: &InterfaceModel) -> String {
    list(interface.source.rule.iter().map(|rule| {
        format!(
            "Rule {{ id: {:?}, any_of: {}, lenient: Level::{:?}, strict: Level::{:?}, \
             message: {:?} }}",
            format!("{}.{}", interface.source.id, rule.name),
            list(rule.any_of.iter().map(|set| texts(set))),
            rule.lenient,
            rule.strict,
            rule.message
        )
    }))
}

fn answers(interface: &InterfaceModel, system: &str) -> String {
    let forms = interface.source.answer.iter().zip(&interface.answers);
    list(forms.map(|(answer, (nodes, example))| {
        format!(
            "AnswerForm {{ name: {:?}, when: {}, fields: {}, example: {example:?} }}",
            answer.name,
            option(answer.when.as_ref(), condition),
            fields(nodes, system)
        )
    }))
}

fn fields(nodes: &[Node], system: &str) -> String {
    list(nodes.iter().map(|node| field(node, system)))
}

fn field(node: &Node, system: &str) -> String {
    let field = &node.field;
    let modes = [(Mode::Lenient, &field.lenient), (Mode::Strict, &field.strict)];
    let levels = modes.iter().flat_map(|(mode, levels)| {
        levels.iter().map(move |(kind, level)| {
            let kind = kind.kind();
            format!(
                "FieldLevel {{ mode: Mode::{mode:?}, kind: Kind::{kind:?}, \
                 level: Level::{level:?} }}"
            )
        })
    });
    let dictionary = option(field.dictionary.as_ref(), |name| {
        format!("&{}", item(&["DICTIONARY", system, name]))
    });
    format!(
        "\n        Field {{ path: {:?}, key: {:?}, name: {:?}, aliases: {}, kind: Type::{:?}, \
         label: {:?}, note: {:?}, length_min: {:?}, length_max: {:?}, bound: {}, \
         dictionary: {dictionary}, treat: {}, required: {:?}, when: {}, levels: {}, \
         personal: {:?}, secret: {:?}, own: {:?}, encryption: {}, children: {} }}",
        field.path,
        node.key,
        node.name,
        texts(&field.aliases),
        field.kind,
        field.label,
        field.note,
        field.length_min,
        field.length_max,
        node.bound(),
        list(field.treat.iter().map(|it| format!("{it:?}"))),
        field.required,
        option(field.when.as_ref(), condition),
        list(levels),
        field.personal,
        field.secret,
        field.own,
        option(field.encryption.as_ref(), |it| format!("Encryption::{it:?}")),
        fields(&node.children, system)
    )
}

fn condition(when: &Condition) -> String {
    format!("Condition {{ field: {:?}, is: {} }}", when.field, texts(&when.is))
}

fn address(address: &Address) -> String {
    match address {
        Address::Http { method, path, parameters } => format!(
            "Address::Http {{ method: {method:?}, path: {path:?}, \
             parameters: Parameters::{parameters:?} }}"
        ),
        Address::View { name } => format!("Address::View {{ name: {name:?} }}"),
        Address::Procedure { name } => format!("Address::Procedure {{ name: {name:?} }}"),
        Address::Soap { wsdl, operation, service } => format!(
            "Address::Soap {{ wsdl: {wsdl:?}, operation: {operation:?}, service: {service:?} }}"
        ),
        Address::UrlScheme { scheme } => format!("Address::UrlScheme {{ scheme: {scheme:?} }}"),
        Address::Process { command } => format!("Address::Process {{ command: {command:?} }}"),
        Address::Dicom { service } => format!("Address::Dicom {{ service: {service:?} }}"),
    }
}

fn routes(all: &[&InterfaceModel]) -> String {
    type Methods<'a> = BTreeMap<&'a str, Vec<&'a InterfaceModel>>;
    let mut places: BTreeMap<(Zone, &str), Methods<'_>> = BTreeMap::new();
    for interface in all {
        for address in &interface.source.address {
            if let Address::Http { method, path, .. } = address {
                let key = (interface.source.zone, place(path));
                let here = places.entry(key).or_default().entry(method).or_default();
                if !here.iter().any(|it| it.source.id == interface.source.id) {
                    here.push(interface);
                }
            }
        }
    }
    list(places.iter().map(|((zone, path), methods)| {
        format!(
            "\n    Route {{ zone: Zone::{zone:?}, path: {path:?}, methods: {}, interfaces: {} }}",
            list(methods.keys().map(|it| format!("{it:?}"))),
            list(methods.values().map(|here| list(here.iter().map(|it| interface_ref(it)))))
        )
    }))
}

fn interface_ref(interface: &InterfaceModel) -> String {
    format!("&{}", item(&["INTERFACE", &interface.source.id]))
}

fn item(parts: &[&str]) -> String {
    let letter = |it: char| if it.is_ascii_alphanumeric() { it.to_ascii_uppercase() } else { '_' };
    parts.join("_").chars().map(letter).collect()
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("&[{}]", items.collect::<Vec<_>>().join(", "))
}

fn texts<T: Debug>(items: &[T]) -> String {
    format!("&{items:?}")
}

fn option<T>(value: Option<&T>, write: impl FnOnce(&T) -> String) -> String {
    value.map_or_else(|| "None".to_owned(), |it| format!("Some({})", write(it)))
}
