//! Findings that differ only in the Service are one.

use super::finding::{Finding, Subject};
use crate::proxy::{Model, screen_label};
use std::collections::HashMap;

/// Services whose evidence a finding of many shows.
pub const SHOWN: usize = 6;

/// Services of a finding all of whose evidence is shown.
const FEW: usize = 3;

/// Puts findings about single Services together where they say the same.
pub(super) fn grouped(findings: Vec<Finding>, model: &Model) -> Vec<Finding> {
    let mut places: HashMap<(&'static str, u8, String), usize> = HashMap::new();
    let mut groups: Vec<Vec<Finding>> = Vec::new();
    for f in findings {
        let is_of_one = matches!(f.subject, Subject::Service(_)) && f.services.len() == 1;
        let single = is_of_one || (f.services.is_empty() && f.absent.len() == 1);
        let key = (f.id, f.severity as u8, f.title.clone());
        match places.get(&key).filter(|_| single) {
            Some(at) => groups[*at].push(f),
            None => {
                if single {
                    places.insert(key, groups.len());
                }
                groups.push(vec![f]);
            }
        }
    }
    groups.into_iter().filter_map(|g| one(g, model)).collect()
}

/// Several Services in a few words: `shop/pay:http and 4 more`, `all 41 Services`.
pub(super) fn several(model: &Model, services: &[usize]) -> String {
    let active = || model.services.iter().filter(|s| s.is_used()).count();
    if services.len() > 2 && services.len() == active() {
        return format!("all {} Services", services.len());
    }
    let first = services.first().and_then(|i| model.services.get(*i)).map_or("?".into(), screen_label);
    format!("{first} and {} more", services.len().saturating_sub(1))
}

fn one(mut group: Vec<Finding>, model: &Model) -> Option<Finding> {
    let alone = group.len() < 2;
    let loss = |f: &Finding| (f.lost_rate.unwrap_or(0.0), f.lost_share.unwrap_or(0.0));
    group.sort_by(|a, b| loss(b).partial_cmp(&loss(a)).unwrap_or(std::cmp::Ordering::Equal));
    let services: Vec<usize> = group.iter().flat_map(|f| f.services.iter().copied()).collect();
    let absent: Vec<Vec<String>> = group.iter().map(|f| f.absent.clone()).collect();
    let lost_share = group.iter().filter_map(|f| f.lost_share).reduce(f64::max);
    let lost_rate = group.iter().filter_map(|f| f.lost_rate).reduce(|a, b| a + b);
    // What all say is said once.
    let common = |text: &String, of: fn(&Finding) -> &Vec<String>| group.iter().all(|f| of(f).contains(text));
    let mut evidence = Vec::new();
    for f in group.iter().take(SHOWN) {
        // Of a few all that shows it, of many the first.
        let most = if group.len() <= FEW { usize::MAX } else { 1 };
        let own = f.evidence.iter().filter(|e| !common(e, |f| &f.evidence)).take(most);
        let label = match (f.services.first(), f.absent.first()) {
            (Some(i), _) => screen_label(&model.services[*i]),
            (_, Some(name)) => name.clone(),
            _ => continue,
        };
        evidence.extend(own.map(|own| format!("{label}: {own}")));
    }
    let (shared, advice): (Vec<String>, Vec<String>) = {
        let first = group.first()?;
        let said = |texts: &Vec<String>, of: fn(&Finding) -> &Vec<String>| -> Vec<String> {
            texts.iter().filter(|t| common(t, of)).cloned().collect()
        };
        let advice = said(&first.advice, |f| &f.advice);
        // Advice with a Service's own name is an example for the others.
        let advice = if advice.is_empty() { first.advice.clone() } else { advice };
        (said(&first.evidence, |f| &f.evidence), advice)
    };
    let count = group.len();
    let mut f = group.into_iter().next()?;
    if alone {
        return Some(f);
    }
    evidence.extend(shared);
    let absent: Vec<String> = absent.into_iter().flatten().collect();
    f.about = match absent.first() {
        Some(name) if services.is_empty() => format!("{name} and {} more", absent.len() - 1),
        _ => several(model, &services),
    };
    if count > SHOWN {
        evidence.push(format!("and {} more Services", count - SHOWN));
    }
    Some(Finding { services, absent, lost_share, lost_rate, evidence, advice, ..f })
}
