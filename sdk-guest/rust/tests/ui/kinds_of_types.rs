use wharf_sdk::Type;

#[derive(Type)]
struct Id(String);

#[derive(Type)]
struct Nothing;

#[derive(Type)]
enum Never {}

#[derive(Type)]
union Either {
    left: u8,
    right: u8,
}

#[derive(Type)]
struct Container {
    name: String,
}

#[derive(Type)]
struct Tree {
    children: Vec<Tree>,
}

#[derive(Type)]
struct Hen {
    egg: Option<Egg>,
}

#[derive(Type)]
struct Egg {
    hen: Vec<Hen>,
}

fn main() {}
